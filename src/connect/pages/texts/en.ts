import { markup, type Markup } from '../markup.js'

/** The texts of all pages, in English. Those of another language have the same names and placeholders. */
export type Texts = typeof english

export const english = {
  /** BCP 47. */
  language: 'en',
  from: (server: Markup) => markup`This page is from ${server}.`,
  thisServer: 'this server',
  unknown: 'unknown',
  unreadable: '(not readable)',
  yes: 'Yes, connect',
  no: 'No, thanks',
  through: 'Through',
  since: 'Since',
  allowCookies: 'If that does not help, allow cookies for this site.',
  allowCookiesBriefly: 'If that does not help, allow cookies for this site. They are needed for a few minutes only.',
  closeIfSent: 'If another site or a message brought you here, close this page. There is nothing else to do.',
  again:
    'To try again, go back to the app you came from (your MCP client) and ask for the same thing once more. It will give you a new link.',
  changedMind:
    'If you change your mind, ask for the same thing once more in the app you came from. It will give you a new link.',
  notYourself: (server: Markup) =>
    markup`If you did not refuse it yourself and it happens again, please tell the people who run ${server}.`,
  reason: (code: Markup) => markup`Its reason: ${code}`,
  useThisLink: (place: Markup) => markup`You are being taken to ${place}. If nothing happens, please use this link:`,
  continueTo: (place: Markup) => markup`Continue to ${place}`,
  client: {
    nameless: 'An app without a name',
    from: (name: Markup, host: Markup) => markup`“${name}” from ${host}`,
    registered: (id: Markup) => markup`<strong>An app that registered itself</strong> (${id})`,
    asks: (client: Markup) => markup`${client} would like to work in your Nextcloud for you.`,
    asksUnderName: (client: Markup, name: Markup) =>
      markup`${client}, which calls itself “${name}”, would like to work in your Nextcloud for you.`,
    callsItself: (name: Markup) => markup`The app calls itself “${name}”.`,
  },
  scopes: {
    none: 'Access to your Nextcloud as you',
    more: (count: number) => markup`and ${count} more`,
    meanings: {
      openid: 'Know that it is you',
      profile: 'See your name and profile',
      email: 'See your e-mail address',
      groups: 'See which groups you are in',
      offline_access: 'Keep access while you are away',
    },
  },
  seconds: (count: number) => (count === 1 ? 'a second' : `${count} seconds`),
  minutes: (count: number) => `${count} minutes`,
  months: 'January February March April May June July August September October November December',
  moment: (day: number, month: string, yearAndTime: { readonly year: number; readonly time: string }) =>
    `${day} ${month} ${yearAndTime.year}, ${yearAndTime.time} UTC`,
  unknownTime: 'an unknown time',
  consent: {
    title: 'Connect your Nextcloud?',
    careful: 'Say yes only if you have just asked this app for it yourself. If somebody sent you this link, say no.',
    asksFor: 'It asks for',
    next: {
      signIn: 'If you say yes, you sign in as usual, and the connection stays until it is disconnected.',
      appPassword:
        'If you say yes, Nextcloud asks you to grant access. It makes an app password, which you can end there at any time (Settings, Security).',
      both: 'If you say yes, you sign in, and then Nextcloud asks you to grant access. It makes an app password, which you can end there at any time (Settings, Security).',
    },
  },
  goingOn: {
    title: 'On to your sign-in',
    useThisLink: (host: Markup) =>
      markup`You are being taken to ${host} to sign in. If nothing happens, please use this link:`,
  },
  waiting: {
    title: 'Now agree in Nextcloud',
    left: (server: Markup) =>
      markup`One step is left: in Nextcloud, allow ${server} to work with your account. There you may have to sign in, and then press “Grant access”.`,
    ownAccount: (client: Markup) => markup`Use your own account there. It is the one with which ${client} will work.`,
    open: (host: Markup) => markup`Open ${host} in a new tab`,
    keepOpen: 'Keep this page open. When you are done, it goes on by itself within seconds.',
    look: 'Look now',
  },
  connected: {
    title: 'Connected, you can go back',
    canWork: (client: Markup, nextcloud: Markup) => markup`${client} can now work in your Nextcloud at ${nextcloud}.`,
    close: 'You can close this page. If the app was waiting, it goes on by itself; if not, ask it once more.',
    seeAll: 'See all connections',
    changedMind: 'Changed your mind?',
    disconnectIt: 'Disconnect, and the app can no longer use your Nextcloud.',
    disconnect: 'Disconnect',
  },
  declined: {
    title: 'Not connected',
    saidNo: (nextcloud: Markup) =>
      markup`You said no, so nothing was connected: no app has got access to your Nextcloud at ${nextcloud} by this link. You can close this page.`,
    tookBack: (nextcloud: Markup) =>
      markup`You said no, or disconnected, after you had said yes. So nothing was connected: no app has got access to your Nextcloud at ${nextcloud} by this link. You can close this page.`,
  },
  disconnected: {
    title: 'Disconnected',
    done: (nextcloud: Markup) =>
      markup`The app can no longer use your Nextcloud at ${nextcloud}. Your files, notes and everything else there are as they were. You can close this page.`,
    again: 'To connect again, ask the app for something that needs Nextcloud. It will give you a new link.',
  },
  linkUnusable: {
    title: 'This link no longer works',
    why: 'A link like this can be used once, for a few minutes. This one has been used, has run out, or was not copied whole. Nothing was changed.',
  },
  notFromHere: {
    title: 'Please open the link again',
    why: 'This browser cannot be recognised as the one that opened the link, so nothing was connected.',
    sameBrowser: 'Open the link in the browser in which you want to sign in, and answer there.',
  },
  otherPerson: {
    title: 'That is another account',
    tryAnother: 'Try again with another account',
    sent: 'Did somebody send you the link?',
    close: 'Then close this page and do not use the link again: it would have let them into your Nextcloud.',
    provider: {
      why: 'You have signed in with another account than the one this link was made for. Nothing was connected, and nothing of yours was kept.',
      yours:
        'If this is your own link: sign out at your sign-in provider, then try again with the account that you use in your app (your MCP client).',
    },
    app: {
      why: (server: Markup) =>
        markup`In this browser, another person is signed in to ${server} than the one this link was made for. Nothing was connected, and nothing of yours was kept.`,
      yours: (server: Markup) =>
        markup`If this is your own link: sign out of ${server}, then sign in with the account that you use in your app (your MCP client).`,
    },
    nextcloud: {
      why: (nextcloud: Markup) =>
        markup`The account in Nextcloud at ${nextcloud} is another than the one that belongs to this link. Nothing was connected, and nothing of yours was kept.`,
      yours: (nextcloud: Markup) =>
        markup`If this is your own link: sign out of Nextcloud at ${nextcloud}, then try again with your own account there.`,
    },
  },
  badAnswer: {
    title: 'That did not fit',
    why: 'The answer that came here was incomplete, or had been used before. That happens when a page is reloaded or opened a second time.',
    seen: 'If you have already seen “Connected”, all is well, and you can close this page.',
  },
  providerRefused: {
    title: 'The sign-in was refused',
    why: 'Your sign-in provider did not let the connection be made. Nothing was connected.',
  },
  noRefreshToken: {
    title: 'The connection would not last',
    why: (server: Markup) =>
      markup`You have signed in, but the provider gave no lasting access (no refresh token). So nothing was connected. You can do nothing about it here: please show this page to the people who run ${server}.`,
    operator: 'For the people who run this server',
    atProvider: 'At the provider, for the client of this server:',
    switchOn: markup`Switch on refresh tokens (the grant type <code>refresh_token</code>).`,
    allow: markup`Allow the scope <code>offline_access</code>, where the provider knows it.`,
    letConsent: markup`Let users consent to it, or consent for them. Some providers give a refresh token only for a parameter of their own, which the option <code>connect.authorizationParameters</code> adds.`,
  },
  unavailable: {
    title: 'Not possible just now',
    provider: 'The sign-in provider does not answer at the moment. This is not your fault.',
    nextcloud: (nextcloud: Markup) =>
      markup`Nextcloud at ${nextcloud} does not answer at the moment. This is not your fault.`,
    store: (server: Markup) =>
      markup`The place where ${server} keeps connections does not answer at the moment. This is not your fault.`,
    wait: (time: string) => markup`Please wait ${time} before you try again.`,
  },
  tooMany: {
    title: 'Too many attempts',
    why: 'Connecting your Nextcloud was begun many times within a few minutes. Nothing was changed.',
    wait: (time: string, server: Markup) =>
      markup`Please wait ${time} before you try again. If it was not you who began it, tell the people who run ${server}.`,
    refused: 'Several sign-ins have come to nothing lately, so this one was not finished. Nothing was changed.',
    inAnHour: (server: Markup) =>
      markup`Please try again in an hour: go back to the app you came from (your MCP client) and ask for the same thing once more. If it is urgent, tell the people who run ${server}.`,
  },
  unknownClient: {
    title: 'Nextcloud does not know this server',
    why: (nextcloud: Markup, server: Markup) =>
      markup`${nextcloud} has no OAuth 2.0 client with the identifier that ${server} has for it. It was deleted there, or the identifier is wrong. Nobody can sign in or connect before that is mended. Nothing was changed.`,
    tell: (server: Markup) => markup`Please tell the people who run ${server}. Then connect once more in your app.`,
    administrator: (nextcloud: Markup, server: Markup) =>
      markup`For the administrator: in ${nextcloud}, add a client under Administration settings, Security, OAuth 2.0 clients, with the redirection URI below. Give its identifier and secret to ${server}, and start that again.`,
  },
  failed: {
    title: 'Something went wrong',
    why: (server: Markup) =>
      markup`This is a fault of the server and not yours. If it happens again, please tell the people who run ${server}.`,
  },
  visit: {
    title: 'See your connection',
    why: (nextcloud: Markup, server: Markup) =>
      markup`Sign in to see which apps can use your Nextcloud at ${nextcloud} through ${server}, and to end that.`,
    lasts:
      'The sign-in only tells this server who you are. It is good for this page, in this browser, for ten minutes.',
    lastsHere:
      'The sign-in only tells this server who you are. You stay signed in here, in this browser, for a day after its last use and for 29 days at most, or until you sign out.',
    signIn: 'Sign in',
    signInAt: (name: Markup) => markup`Sign in at ${name}`,
    openAgain: 'Open this page again',
    notSignedIn: 'Please sign in first',
    signInToApp: (server: Markup) =>
      markup`This page shows the connection of the person who is signed in to the app that ${server} belongs to, and you are not signed in there. Sign in there in this browser, then open this page again.`,
    cannotTell: 'Not possible on a page',
    whoYouAre: (server: Markup) =>
      markup`The sign-in here cannot tell ${server} which user of your app (your MCP client) you are, so this page can show nothing. You can end a connection in other ways:`,
    endInApp: markup`If your app offers to disconnect Nextcloud, do it there: it then sends <code>POST …/disconnect</code> to this server.`,
    endInNextcloud:
      'In Nextcloud itself, open your settings and there “Security”: under “Devices & sessions”, revoke what this server has.',
    forOperator: (server: Markup) =>
      markup`For the people who run ${server}: <code>connect.authenticateBrowser</code> makes this page possible.`,
    failed: 'You are not signed in',
    cameToNothing: 'The sign-in did not come to an end, so nothing can be shown here. Nothing was changed.',
    reason: (code: Markup) => markup`The reason that your sign-in provider gives: ${code}`,
    tryAgain: 'Try again',
    notYourself: (server: Markup) =>
      markup`If you did not break it off yourself and it happens again, please tell the people who run ${server}.`,
    over: 'Please open this page again',
    noLonger: 'You are not signed in here any more, or this was not sent by the page itself. Nothing was changed.',
    tenMinutes: 'Open the page again, and sign in. That counts for ten minutes.',
  },
  overview: {
    title: 'Your Nextcloud connection',
    state: 'State',
    states: { none: 'Not connected', good: 'Connected', trouble: 'Must be connected again' },
    nothing:
      'Nothing is connected, and no app can use your Nextcloud through this server. There is nothing to do here: when an app (your MCP client) needs your Nextcloud, it gives you a link to connect it.',
    trouble: {
      refused:
        'The connection does not work now. Nextcloud, or your sign-in provider, does not accept it any more. To connect again, ask your app for something that needs Nextcloud: it gives you a new link.',
      expired:
        'The connection does not work now. The time for which your sign-in provider gave it is over. To connect again, ask your app for something that needs Nextcloud: it gives you a new link.',
      elsewhere:
        'The connection does not work now. It was made in another way than this server now connects, or for another Nextcloud. To connect again, ask your app for something that needs Nextcloud: it gives you a new link.',
      unreadable:
        'The connection does not work now. It is stored under a key that this server does not have any more. To connect again, ask your app for something that needs Nextcloud: it gives you a new link.',
    },
    apps: 'Apps that may use it',
    more: (count: number) => markup`and ${count} more, which are shown when others are ended.`,
    callsItself: (name: Markup) => markup`Calls itself “${name}”`,
    since: (moment: Markup) => markup`Since ${moment}`,
    lastUsed: (moment: Markup) => markup`Last used about ${moment}`,
    end: 'End',
    endAll: 'End it all',
    disconnect:
      'Disconnect, and no app can use your Nextcloud through this server any more. Your files, notes and everything else stay as they are.',
    disconnectAll: 'Disconnect all',
    browsers: 'Browsers in which you are signed in',
    thisBrowser: 'This browser',
    anotherBrowser: 'Another browser',
    leave: 'Done here?',
    leaveVisit:
      'You are signed in to this page for ten minutes at most. Is this not your account? Sign out, then sign in with another one.',
    leaveHere:
      'Sign out, and this browser is signed in here no more. Your apps go on. Is this not your account? Sign out at Nextcloud too, before you sign in again.',
    signOut: 'Sign out',
    done: {
      one: 'That app can no longer use your Nextcloud through this server.',
      all: 'Your Nextcloud is disconnected: no app can use it through this server any more.',
      out: 'You have signed out of this page.',
      'signed-out': 'You have signed out here. Your apps go on.',
      browser: 'You are signed out in that browser.',
    },
    pending:
      'Nextcloud, or your sign-in provider, could not be reached to end it there as well. This server tries that again by itself until it works.',
  },
  signIn: {
    title: 'Let this app use your Nextcloud?',
    next: (nextcloud: Markup) => markup`If you say yes, you sign in at ${nextcloud} and press “Grant access” there.`,
    signedInAs: (user: Markup) => markup`You are signed in as ${user}.`,
    sendsBackTo: 'Sends you back to',
    itMay: 'It may',
    careful: 'Say yes only if you have just connected this app yourself. If somebody sent you here, say no.',
    yesSignIn: 'Yes, sign in',
    yesAllow: 'Yes, allow it',
    appOnDevice: (host: Markup) => markup`an app on this device (${host})`,
    toNextcloud: 'On to Nextcloud',
    toApp: 'Signed in, on to your app',
    toConnections: 'On to your connections',
    yourApp: 'your app',
    yourConnections: 'your connections',
    unknown: 'This sign-in is over',
    runOut:
      'It has been finished, has run out after ten minutes, or was begun in another browser. Nothing was changed.',
    backToApp: 'Go back to your app and connect once more. If that does not help, allow cookies for this site.',
    anotherPerson: 'Somebody else is signed in here now',
    askedBefore:
      'This question was asked before somebody signed in or out in this browser, so it cannot be answered any more. Nothing was changed.',
    askAgain: 'Ask me again',
    notFromHere: 'Please connect again in your app',
    notRecognised:
      'This browser cannot be recognised as the one in which the sign-in was begun, so nobody was signed in.',
    sameBrowser: 'Connect once more in your app, and stay in the browser that it opens.',
    badAnswer: (nextcloud: Markup) =>
      markup`The answer of ${nextcloud} that came here was incomplete, or had been used before. That happens when a page is reloaded or opened a second time.`,
    ifConnected: 'If your app is connected, all is well, and you can close this page. If not, connect once more there.',
    notLetIn: (nextcloud: Markup, reason: Markup) =>
      markup`${nextcloud} did not let this server finish the sign-in, so nobody was signed in. Its reason: ${reason}`,
    onceMore: (server: Markup) =>
      markup`Connect once more in your app. If it happens again, please tell the people who run ${server}.`,
    wrongSecret: (server: Markup) =>
      markup`The administrator of ${server} has to look at the client secret that it has for Nextcloud, and start ${server} again. Its log says more. Then connect once more in your app.`,
    tooMany:
      'Several sign-ins from your network have come to nothing lately, so this one was not finished. Nobody was signed in.',
    inAnHour: (server: Markup) =>
      markup`Connect once more in your app in an hour. If it is urgent, please tell the people who run ${server}.`,
    refused: 'The app asked for something that is not possible',
    cannotAnswer: (reason: Markup) =>
      markup`Your app sent a request that this server cannot answer. Its reason: ${reason}`,
    addAgain: 'Connect once more in your app. If it happens again, remove this server there and add it again.',
    wayBack:
      'If somebody sent you here, close this page. If you have just connected an app yourself, you can tell it what happened.',
    goBackTo: (place: Markup) => markup`Go back to ${place}`,
    otherAccount: 'Nextcloud named another account',
    twoAccounts:
      'The two answers of Nextcloud do not name the same account, so nobody was signed in. Please connect once more in your app.',
    noAnswer: 'A sign-in begins in your app',
    byItself: (nextcloud: Markup) =>
      markup`${nextcloud} sends browsers to this address at the end of a sign-in. Opened by itself, it does nothing, and nothing was changed.`,
    connectInApp: 'Connect in your app. It opens the right page.',
    redirectUri: (uri: Markup) =>
      markup`For the administrator: the redirection URI of the OAuth 2.0 client in Nextcloud must be ${uri}`,
  },
}
