import { markup, type Markup } from '../markup.js'
import type { Texts } from './en.js'

/** The texts in German. Names of Nextcloud's own pages and buttons are as its German translation has them. */
export const german: Texts = {
  language: 'de',
  from: (server: Markup) => markup`Diese Seite stammt von ${server}.`,
  thisServer: 'dieser Server',
  unknown: 'unbekannt',
  unreadable: '(nicht lesbar)',
  yes: 'Ja, verbinden',
  no: 'Nein, danke',
  through: 'Über',
  since: 'Seit',
  allowCookies: 'Wenn das nicht hilft, erlauben Sie Cookies für diese Website.',
  allowCookiesBriefly:
    'Wenn das nicht hilft, erlauben Sie Cookies für diese Website. Sie werden nur für wenige Minuten gebraucht.',
  closeIfSent:
    'Wenn eine andere Website oder eine Nachricht Sie hierher geführt hat, schließen Sie diese Seite. Sie müssen nichts weiter tun.',
  again:
    'Um es erneut zu versuchen, gehen Sie zurück in die App, aus der Sie kommen (Ihren MCP-Client), und wiederholen Sie dort Ihre Anfrage. Sie erhalten dann einen neuen Link.',
  changedMind:
    'Wenn Sie es sich anders überlegen, wiederholen Sie Ihre Anfrage in der App, aus der Sie kommen. Sie erhalten dann einen neuen Link.',
  notYourself: (server: Markup) =>
    markup`Wenn Sie nicht selbst abgelehnt haben und es wieder passiert, wenden Sie sich bitte an die Betreiber (${server}).`,
  reason: (code: Markup) => markup`Angegebener Grund: ${code}`,
  useThisLink: (place: Markup) =>
    markup`Sie werden weitergeleitet. Ihr Ziel: ${place}. Wenn nichts passiert, verwenden Sie bitte diesen Link:`,
  continueTo: (place: Markup) => markup`Weiter: ${place}`,
  client: {
    nameless: 'Eine App ohne Namen',
    from: (name: Markup, host: Markup) => markup`„${name}“ von ${host}`,
    registered: (id: Markup) => markup`<strong>Eine App, die sich selbst registriert hat</strong> (${id})`,
    asks: (client: Markup) => markup`${client} möchte in Ihrem Namen auf Ihre Nextcloud zugreifen.`,
    asksUnderName: (client: Markup, name: Markup) =>
      markup`${client} nennt sich selbst „${name}“ und möchte in Ihrem Namen auf Ihre Nextcloud zugreifen.`,
    callsItself: (name: Markup) => markup`Die App nennt sich selbst „${name}“.`,
  },
  scopes: {
    none: 'Zugriff auf Ihre Nextcloud in Ihrem Namen',
    more: (count: number) => markup`und ${count} weitere`,
    meanings: {
      openid: 'Wissen, wer Sie sind',
      profile: 'Ihren Namen und Ihr Profil sehen',
      email: 'Ihre E-Mail-Adresse sehen',
      groups: 'Sehen, in welchen Gruppen Sie sind',
      offline_access: 'Auch in Ihrer Abwesenheit zugreifen',
    },
  },
  seconds: (count: number) => (count === 1 ? 'eine Sekunde' : `${count} Sekunden`),
  minutes: (count: number) => `${count} Minuten`,
  months: 'Januar Februar März April Mai Juni Juli August September Oktober November Dezember',
  moment: (day, month, { year, time }) => `${day}. ${month} ${year}, ${time} Uhr UTC`,
  unknownTime: 'einem unbekannten Zeitpunkt',
  consent: {
    title: 'Ihre Nextcloud verbinden?',
    careful:
      'Sagen Sie nur Ja, wenn Sie diese App gerade selbst darum gebeten haben. Wenn Ihnen jemand diesen Link geschickt hat, sagen Sie Nein.',
    asksFor: 'Gewünschter Zugriff',
    next: {
      signIn:
        'Wenn Sie Ja sagen, melden Sie sich wie gewohnt an, und die Verbindung bleibt bestehen, bis sie getrennt wird.',
      appPassword:
        'Wenn Sie Ja sagen, bittet Nextcloud Sie, den Zugriff zu gewähren. Dabei wird ein App-Passwort erstellt, das Sie dort jederzeit widerrufen können (Einstellungen, Sicherheit).',
      both: 'Wenn Sie Ja sagen, melden Sie sich an, und danach bittet Nextcloud Sie, den Zugriff zu gewähren. Dabei wird ein App-Passwort erstellt, das Sie dort jederzeit widerrufen können (Einstellungen, Sicherheit).',
    },
  },
  goingOn: {
    title: 'Weiter zu Ihrer Anmeldung',
    useThisLink: (host: Markup) =>
      markup`Sie werden zur Anmeldung bei ${host} weitergeleitet. Wenn nichts passiert, verwenden Sie bitte diesen Link:`,
  },
  waiting: {
    title: 'Stimmen Sie jetzt in Nextcloud zu',
    left: (server: Markup) =>
      markup`Ein Schritt fehlt noch: Erlauben Sie in Nextcloud, dass ${server} auf Ihr Konto zugreift. Vielleicht müssen Sie sich dort erst anmelden; klicken Sie dann auf „Zugriff gewähren“.`,
    ownAccount: (client: Markup) => markup`Verwenden Sie dort Ihr eigenes Konto. ${client} wird darauf zugreifen.`,
    open: (host: Markup) => markup`${host} in einem neuen Tab öffnen`,
    keepOpen:
      'Lassen Sie diese Seite offen. Wenn Sie fertig sind, geht es hier nach wenigen Sekunden von selbst weiter.',
    look: 'Jetzt prüfen',
  },
  connected: {
    title: 'Verbunden, Sie können zur App zurückkehren',
    canWork: (client: Markup, nextcloud: Markup) =>
      markup`${client} kann jetzt auf Ihre Nextcloud bei ${nextcloud} zugreifen.`,
    close:
      'Sie können diese Seite schließen. Wenn die App gewartet hat, macht sie von selbst weiter; wenn nicht, wiederholen Sie dort Ihre Anfrage.',
    seeAll: 'Alle Verbindungen ansehen',
    changedMind: 'Haben Sie es sich anders überlegt?',
    disconnectIt: 'Wenn Sie die Verbindung trennen, kann die App Ihre Nextcloud nicht mehr verwenden.',
    disconnect: 'Verbindung trennen',
  },
  declined: {
    title: 'Nicht verbunden',
    saidNo: (nextcloud: Markup) =>
      markup`Sie haben Nein gesagt, deshalb wurde nichts verbunden: Keine App hat durch diesen Link Zugriff auf Ihre Nextcloud bei ${nextcloud} erhalten. Sie können diese Seite schließen.`,
    tookBack: (nextcloud: Markup) =>
      markup`Sie haben zuerst Ja gesagt und dann doch Nein, oder die Verbindung getrennt. Deshalb wurde nichts verbunden: Keine App hat durch diesen Link Zugriff auf Ihre Nextcloud bei ${nextcloud} erhalten. Sie können diese Seite schließen.`,
  },
  disconnected: {
    title: 'Verbindung getrennt',
    done: (nextcloud: Markup) =>
      markup`Die App kann Ihre Nextcloud bei ${nextcloud} nicht mehr verwenden. Ihre Dateien, Ihre Notizen und alles andere dort sind unverändert. Sie können diese Seite schließen.`,
    again:
      'Um die Verbindung wiederherzustellen, bitten Sie die App um etwas, wofür sie Nextcloud braucht. Sie erhalten dann einen neuen Link.',
  },
  linkUnusable: {
    title: 'Dieser Link ist nicht mehr gültig',
    why: 'Ein solcher Link lässt sich nur einmal und nur wenige Minuten lang verwenden. Dieser wurde bereits verwendet, ist abgelaufen oder wurde nicht vollständig kopiert. Es wurde nichts geändert.',
  },
  notFromHere: {
    title: 'Bitte öffnen Sie den Link noch einmal',
    why: 'Dieser Browser lässt sich nicht als der erkennen, in dem der Link geöffnet wurde. Deshalb wurde nichts verbunden.',
    sameBrowser: 'Öffnen Sie den Link in dem Browser, in dem Sie sich anmelden möchten, und antworten Sie dort.',
  },
  otherPerson: {
    title: 'Das ist ein anderes Konto',
    tryAnother: 'Mit einem anderen Konto versuchen',
    sent: 'Hat Ihnen jemand den Link geschickt?',
    close:
      'Dann schließen Sie diese Seite, und verwenden Sie den Link nicht mehr: Er hätte jemand anderem Zugang zu Ihrer Nextcloud verschafft.',
    provider: {
      why: 'Sie haben sich mit einem anderen Konto angemeldet als dem, für das dieser Link bestimmt ist. Es wurde nichts verbunden, und es wurden keine Daten von Ihnen gespeichert.',
      yours:
        'Wenn es Ihr eigener Link ist: Melden Sie sich bei Ihrem Anmeldedienst ab, und versuchen Sie es dann mit dem Konto, das Sie in Ihrer App (Ihrem MCP-Client) verwenden.',
    },
    app: {
      why: (server: Markup) =>
        markup`In diesem Browser ist bei ${server} eine andere Person angemeldet als die, für die dieser Link bestimmt ist. Es wurde nichts verbunden, und es wurden keine Daten von Ihnen gespeichert.`,
      yours: (server: Markup) =>
        markup`Wenn es Ihr eigener Link ist: Melden Sie sich bei ${server} ab und dann mit dem Konto an, das Sie in Ihrer App (Ihrem MCP-Client) verwenden.`,
    },
    nextcloud: {
      why: (nextcloud: Markup) =>
        markup`Das Konto in der Nextcloud bei ${nextcloud} ist ein anderes als das, das zu diesem Link gehört. Es wurde nichts verbunden, und es wurden keine Daten von Ihnen gespeichert.`,
      yours: (nextcloud: Markup) =>
        markup`Wenn es Ihr eigener Link ist: Melden Sie sich in der Nextcloud bei ${nextcloud} ab, und versuchen Sie es dann dort mit Ihrem eigenen Konto.`,
    },
  },
  badAnswer: {
    title: 'Diese Antwort lässt sich nicht verwenden',
    why: 'Die Antwort, die hier ankam, war unvollständig oder wurde schon verwendet. Das passiert, wenn eine Seite neu geladen oder ein zweites Mal geöffnet wird.',
    seen: 'Wenn Sie schon „Verbunden“ gesehen haben, ist alles in Ordnung, und Sie können diese Seite schließen.',
  },
  providerRefused: {
    title: 'Die Anmeldung wurde abgelehnt',
    why: 'Ihr Anmeldedienst hat die Verbindung nicht zugelassen. Es wurde nichts verbunden.',
  },
  noRefreshToken: {
    title: 'Die Verbindung wäre nicht von Dauer',
    why: (server: Markup) =>
      markup`Sie haben sich angemeldet, aber der Anmeldedienst hat keinen dauerhaften Zugriff gewährt (kein Refresh-Token). Deshalb wurde nichts verbunden. Sie selbst können daran nichts ändern: Zeigen Sie diese Seite bitte den Betreibern (${server}).`,
    operator: 'Für die Betreiber dieses Servers',
    atProvider: 'Beim Anmeldedienst, für den Client dieses Servers:',
    switchOn: markup`Aktivieren Sie Refresh-Tokens (Grant-Typ <code>refresh_token</code>).`,
    allow: markup`Erlauben Sie den Scope <code>offline_access</code>, wenn der Anmeldedienst ihn kennt.`,
    letConsent: markup`Lassen Sie die Benutzer zustimmen, oder stimmen Sie für sie zu. Manche Anmeldedienste geben ein Refresh-Token nur auf einen eigenen Parameter hin aus, den die Option <code>connect.authorizationParameters</code> hinzufügt.`,
  },
  unavailable: {
    title: 'Gerade nicht möglich',
    provider: 'Der Anmeldedienst antwortet derzeit nicht. Das liegt nicht an Ihnen.',
    nextcloud: (nextcloud: Markup) =>
      markup`Die Nextcloud bei ${nextcloud} antwortet derzeit nicht. Das liegt nicht an Ihnen.`,
    store: (server: Markup) =>
      markup`Der Speicher, in dem ${server} Verbindungen aufbewahrt, antwortet derzeit nicht. Das liegt nicht an Ihnen.`,
    wait: (time: string) => markup`Bitte warten Sie ${time}, bevor Sie es erneut versuchen.`,
  },
  tooMany: {
    title: 'Zu viele Versuche',
    why: 'Innerhalb weniger Minuten wurde sehr oft versucht, Ihre Nextcloud zu verbinden. Es wurde nichts geändert.',
    wait: (time: string, server: Markup) =>
      markup`Bitte warten Sie ${time}, bevor Sie es erneut versuchen. Wenn Sie das nicht waren, wenden Sie sich an die Betreiber (${server}).`,
    refused:
      'Mehrere Anmeldungen sind zuletzt gescheitert, deshalb wurde diese nicht abgeschlossen. Es wurde nichts geändert.',
    inAnHour: (server: Markup) =>
      markup`Bitte versuchen Sie es in einer Stunde erneut: Gehen Sie zurück in die App, aus der Sie kommen (Ihren MCP-Client), und wiederholen Sie dort Ihre Anfrage. Wenn es eilt, wenden Sie sich an die Betreiber (${server}).`,
  },
  unknownClient: {
    title: 'Nextcloud kennt diesen Server nicht',
    why: (nextcloud: Markup, server: Markup) =>
      markup`${nextcloud} hat keinen OAuth-2.0-Client mit der Kennung, die ${server} verwendet. Er wurde dort gelöscht, oder die Kennung ist falsch. Niemand kann sich anmelden oder verbinden, bevor das behoben ist. Es wurde nichts geändert.`,
    tell: (server: Markup) =>
      markup`Bitte wenden Sie sich an die Betreiber (${server}). Stellen Sie danach die Verbindung in Ihrer App noch einmal her.`,
    administrator: (nextcloud: Markup, server: Markup) =>
      markup`Für die Administration: Fügen Sie in ${nextcloud} unter Administrationseinstellungen, Sicherheit, OAuth 2.0-Clients einen Client mit der folgenden Weiterleitungs-URI hinzu. Tragen Sie dessen Kennung und geheimen Schlüssel bei ${server} ein, und starten Sie diesen Server neu.`,
  },
  failed: {
    title: 'Etwas ist schiefgegangen',
    why: (server: Markup) =>
      markup`Das ist ein Fehler des Servers, nicht Ihrer. Wenn es wieder passiert, wenden Sie sich bitte an die Betreiber (${server}).`,
  },
  visit: {
    title: 'Ihre Verbindung ansehen',
    why: (nextcloud: Markup, server: Markup) =>
      markup`Melden Sie sich an, um zu sehen, welche Apps Ihre Nextcloud bei ${nextcloud} über ${server} verwenden können, und um diese Verbindungen zu beenden.`,
    lasts:
      'Die Anmeldung sagt diesem Server nur, wer Sie sind. Sie gilt für diese Seite, in diesem Browser, zehn Minuten lang.',
    lastsHere:
      'Die Anmeldung sagt diesem Server nur, wer Sie sind. Sie bleiben hier in diesem Browser bis einen Tag nach der letzten Nutzung angemeldet, höchstens 29 Tage, oder bis Sie sich abmelden.',
    signIn: 'Anmelden',
    signInAt: (name: Markup) => markup`Bei ${name} anmelden`,
    openAgain: 'Diese Seite noch einmal öffnen',
    notSignedIn: 'Bitte melden Sie sich zuerst an',
    signInToApp: (server: Markup) =>
      markup`Diese Seite zeigt die Verbindung der Person, die in der App angemeldet ist, zu der ${server} gehört, und dort sind Sie nicht angemeldet. Melden Sie sich dort in diesem Browser an, und öffnen Sie dann diese Seite noch einmal.`,
    cannotTell: 'Auf einer Seite nicht möglich',
    whoYouAre: (server: Markup) =>
      markup`Durch die Anmeldung hier erfährt ${server} nicht, wer Sie in Ihrer App (Ihrem MCP-Client) sind, deshalb kann diese Seite nichts zeigen. Sie können eine Verbindung auf andere Weise beenden:`,
    endInApp: markup`Wenn Ihre App anbietet, Nextcloud zu trennen, tun Sie es dort: Sie schickt dann <code>POST …/disconnect</code> an diesen Server.`,
    endInNextcloud:
      'Öffnen Sie in Nextcloud selbst Ihre Einstellungen und dort „Sicherheit“: Widerrufen Sie unter „Geräte & Sitzungen“ den Zugriff dieses Servers.',
    forOperator: (server: Markup) =>
      markup`Für die Betreiber (${server}): <code>connect.authenticateBrowser</code> macht diese Seite möglich.`,
    failed: 'Sie sind nicht angemeldet',
    cameToNothing:
      'Die Anmeldung wurde nicht abgeschlossen, deshalb lässt sich hier nichts zeigen. Es wurde nichts geändert.',
    reason: (code: Markup) => markup`Der Grund, den Ihr Anmeldedienst nennt: ${code}`,
    tryAgain: 'Erneut versuchen',
    notYourself: (server: Markup) =>
      markup`Wenn Sie nicht selbst abgebrochen haben und es wieder passiert, wenden Sie sich bitte an die Betreiber (${server}).`,
    over: 'Bitte öffnen Sie diese Seite noch einmal',
    noLonger:
      'Sie sind hier nicht mehr angemeldet, oder dies wurde nicht von der Seite selbst gesendet. Es wurde nichts geändert.',
    tenMinutes: 'Öffnen Sie die Seite noch einmal, und melden Sie sich an. Das gilt zehn Minuten lang.',
  },
  overview: {
    title: 'Ihre Verbindung mit Nextcloud',
    state: 'Status',
    states: { none: 'Nicht verbunden', good: 'Verbunden', trouble: 'Muss neu verbunden werden' },
    nothing:
      'Nichts ist verbunden, und keine App kann Ihre Nextcloud über diesen Server verwenden. Hier ist nichts zu tun: Wenn eine App (Ihr MCP-Client) Ihre Nextcloud braucht, gibt sie Ihnen einen Link zum Verbinden.',
    trouble: {
      refused:
        'Die Verbindung funktioniert zurzeit nicht. Nextcloud oder Ihr Anmeldedienst akzeptiert sie nicht mehr. Um die Verbindung wiederherzustellen, bitten Sie Ihre App um etwas, wofür sie Nextcloud braucht: Sie erhalten dann einen neuen Link.',
      expired:
        'Die Verbindung funktioniert zurzeit nicht. Die Zeit, für die Ihr Anmeldedienst sie gewährt hat, ist abgelaufen. Um die Verbindung wiederherzustellen, bitten Sie Ihre App um etwas, wofür sie Nextcloud braucht: Sie erhalten dann einen neuen Link.',
      elsewhere:
        'Die Verbindung funktioniert zurzeit nicht. Sie wurde auf einem anderen Weg hergestellt, als dieser Server ihn heute verwendet, oder für eine andere Nextcloud. Um die Verbindung wiederherzustellen, bitten Sie Ihre App um etwas, wofür sie Nextcloud braucht: Sie erhalten dann einen neuen Link.',
      unreadable:
        'Die Verbindung funktioniert zurzeit nicht. Sie ist unter einem Schlüssel gespeichert, den dieser Server nicht mehr hat. Um die Verbindung wiederherzustellen, bitten Sie Ihre App um etwas, wofür sie Nextcloud braucht: Sie erhalten dann einen neuen Link.',
    },
    apps: 'Apps, die sie verwenden dürfen',
    more: (count: number) => markup`und ${count} weitere, die erscheinen, sobald andere beendet sind.`,
    callsItself: (name: Markup) => markup`Nennt sich selbst „${name}“`,
    since: (moment: Markup) => markup`Seit ${moment}`,
    lastUsed: (moment: Markup) => markup`Zuletzt verwendet: etwa ${moment}`,
    end: 'Beenden',
    endAll: 'Alles beenden',
    disconnect:
      'Wenn Sie die Verbindung trennen, kann keine App Ihre Nextcloud mehr über diesen Server verwenden. Ihre Dateien, Ihre Notizen und alles andere bleiben, wie sie sind.',
    disconnectAll: 'Alle trennen',
    browsers: 'Browser, in denen Sie angemeldet sind',
    thisBrowser: 'Dieser Browser',
    anotherBrowser: 'Ein anderer Browser',
    leave: 'Sind Sie hier fertig?',
    leaveVisit:
      'Sie sind auf dieser Seite höchstens zehn Minuten angemeldet. Ist das nicht Ihr Konto? Melden Sie sich ab und dann mit einem anderen an.',
    leaveHere:
      'Wenn Sie sich abmelden, ist dieser Browser hier nicht mehr angemeldet. Ihre Apps laufen weiter. Ist das nicht Ihr Konto? Melden Sie sich auch bei Nextcloud ab, bevor Sie sich wieder anmelden.',
    signOut: 'Abmelden',
    done: {
      one: 'Diese App kann Ihre Nextcloud nicht mehr über diesen Server verwenden.',
      all: 'Ihre Nextcloud ist getrennt: Keine App kann sie mehr über diesen Server verwenden.',
      out: 'Sie haben sich von dieser Seite abgemeldet.',
      'signed-out': 'Sie haben sich hier abgemeldet. Ihre Apps laufen weiter.',
      browser: 'Sie sind in dem anderen Browser abgemeldet.',
    },
    pending:
      'Nextcloud oder Ihr Anmeldedienst war nicht erreichbar, um die Verbindung auch dort zu beenden. Dieser Server versucht es von selbst erneut, bis es gelingt.',
  },
  signIn: {
    title: 'Darf diese App Ihre Nextcloud verwenden?',
    next: (nextcloud: Markup) =>
      markup`Wenn Sie Ja sagen, melden Sie sich bei ${nextcloud} an und klicken dort auf „Zugriff gewähren“.`,
    signedInAs: (user: Markup) => markup`Sie sind angemeldet als ${user}.`,
    sendsBackTo: 'Leitet zurück zu',
    itMay: 'Erlaubter Zugriff',
    careful:
      'Sagen Sie nur Ja, wenn Sie diese App gerade selbst verbunden haben. Wenn jemand Sie hierher geschickt hat, sagen Sie Nein.',
    yesSignIn: 'Ja, anmelden',
    yesAllow: 'Ja, erlauben',
    appOnDevice: (host: Markup) => markup`App auf diesem Gerät (${host})`,
    toNextcloud: 'Weiter zu Nextcloud',
    toApp: 'Angemeldet, weiter zu Ihrer App',
    toConnections: 'Weiter zu Ihren Verbindungen',
    yourApp: 'Ihre App',
    yourConnections: 'Ihre Verbindungen',
    unknown: 'Diese Anmeldung ist beendet',
    runOut:
      'Sie wurde abgeschlossen, ist nach zehn Minuten abgelaufen oder wurde in einem anderen Browser begonnen. Es wurde nichts geändert.',
    backToApp:
      'Gehen Sie zurück in Ihre App, und stellen Sie dort die Verbindung noch einmal her. Wenn das nicht hilft, erlauben Sie Cookies für diese Website.',
    anotherPerson: 'Hier ist jetzt jemand anderes angemeldet',
    askedBefore:
      'Diese Frage wurde gestellt, bevor sich in diesem Browser jemand an- oder abgemeldet hat, und kann deshalb nicht mehr beantwortet werden. Es wurde nichts geändert.',
    askAgain: 'Noch einmal fragen',
    notFromHere: 'Bitte stellen Sie die Verbindung in Ihrer App noch einmal her',
    notRecognised:
      'Dieser Browser lässt sich nicht als der erkennen, in dem die Anmeldung begonnen wurde. Deshalb wurde niemand angemeldet.',
    sameBrowser:
      'Stellen Sie die Verbindung in Ihrer App noch einmal her, und bleiben Sie in dem Browser, den sie öffnet.',
    badAnswer: (nextcloud: Markup) =>
      markup`Die Antwort von ${nextcloud}, die hier ankam, war unvollständig oder wurde schon verwendet. Das passiert, wenn eine Seite neu geladen oder ein zweites Mal geöffnet wird.`,
    ifConnected:
      'Wenn Ihre App verbunden ist, ist alles in Ordnung, und Sie können diese Seite schließen. Wenn nicht, stellen Sie die Verbindung dort noch einmal her.',
    notLetIn: (nextcloud: Markup, reason: Markup) =>
      markup`${nextcloud} hat diesen Server die Anmeldung nicht abschließen lassen, deshalb wurde niemand angemeldet. Angegebener Grund: ${reason}`,
    onceMore: (server: Markup) =>
      markup`Stellen Sie die Verbindung in Ihrer App noch einmal her. Wenn es wieder passiert, wenden Sie sich bitte an die Betreiber (${server}).`,
    wrongSecret: (server: Markup) =>
      markup`Wer ${server} verwaltet, muss das Client-Geheimnis prüfen, das dort für Nextcloud eingetragen ist, und den Server neu starten. Näheres steht in dessen Protokoll. Stellen Sie danach die Verbindung in Ihrer App noch einmal her.`,
    tooMany:
      'Mehrere Anmeldungen aus Ihrem Netz sind zuletzt gescheitert, deshalb wurde diese nicht abgeschlossen. Niemand wurde angemeldet.',
    inAnHour: (server: Markup) =>
      markup`Stellen Sie die Verbindung in einer Stunde in Ihrer App noch einmal her. Wenn es eilt, wenden Sie sich bitte an die Betreiber (${server}).`,
    refused: 'Die App hat etwas angefordert, das nicht möglich ist',
    cannotAnswer: (reason: Markup) =>
      markup`Ihre App hat eine Anfrage geschickt, die dieser Server nicht beantworten kann. Angegebener Grund: ${reason}`,
    addAgain:
      'Stellen Sie die Verbindung in Ihrer App noch einmal her. Wenn es wieder passiert, entfernen Sie diesen Server dort, und fügen Sie ihn neu hinzu.',
    wayBack:
      'Wenn jemand Sie hierher geschickt hat, schließen Sie diese Seite. Wenn Sie gerade selbst eine App verbunden haben, können Sie ihr mitteilen, was passiert ist.',
    goBackTo: (place: Markup) => markup`Zurück: ${place}`,
    otherAccount: 'Nextcloud hat ein anderes Konto genannt',
    twoAccounts:
      'Die beiden Antworten von Nextcloud nennen nicht dasselbe Konto, deshalb wurde niemand angemeldet. Bitte stellen Sie die Verbindung in Ihrer App noch einmal her.',
    noAnswer: 'Eine Anmeldung beginnt in Ihrer App',
    byItself: (nextcloud: Markup) =>
      markup`${nextcloud} schickt Browser am Ende einer Anmeldung an diese Adresse. Für sich allein geöffnet bewirkt sie nichts, und es wurde nichts geändert.`,
    connectInApp: 'Stellen Sie die Verbindung in Ihrer App her. Die App öffnet die richtige Seite.',
    redirectUri: (uri: Markup) =>
      markup`Für die Administration: Die Weiterleitungs-URI des OAuth-2.0-Clients in Nextcloud muss so lauten: ${uri}`,
  },
}
