import { markup, type Markup } from '../markup.js'
import type { Texts } from './en.js'

/** The texts in French. Names of Nextcloud's own pages and buttons are as its French translation has them. */
export const french: Texts = {
  language: 'fr',
  from: (server: Markup) => markup`Cette page vient de ${server}.`,
  thisServer: 'ce serveur',
  unknown: 'inconnue',
  unreadable: '(illisible)',
  yes: 'Oui, connecter',
  no: 'Non, merci',
  through: 'Via',
  since: 'Depuis',
  allowCookies: 'Si cela ne suffit pas, autorisez les cookies pour ce site.',
  allowCookiesBriefly:
    'Si cela ne suffit pas, autorisez les cookies pour ce site. Ils ne servent que quelques minutes.',
  closeIfSent: 'Si un autre site ou un message vous a conduit ici, fermez cette page. Il n’y a rien d’autre à faire.',
  again:
    'Pour réessayer, retournez dans l’application d’où vous venez (votre client MCP) et refaites votre demande. Elle vous donnera un nouveau lien.',
  changedMind:
    'Si vous changez d’avis, refaites votre demande dans l’application d’où vous venez. Elle vous donnera un nouveau lien.',
  notYourself: (server: Markup) =>
    markup`Si vous n’avez pas refusé vous-même et que cela se reproduit, veuillez prévenir les responsables de ${server}.`,
  reason: (code: Markup) => markup`Raison indiquée\u00A0: ${code}`,
  useThisLink: (place: Markup) =>
    markup`Vous êtes redirigé. Votre destination\u00A0: ${place}. S’il ne se passe rien, veuillez utiliser ce lien\u00A0:`,
  continueTo: (place: Markup) => markup`Continuer\u00A0: ${place}`,
  client: {
    nameless: 'Une application sans nom',
    from: (name: Markup, host: Markup) => markup`«\u00A0${name}\u00A0» de ${host}`,
    registered: (id: Markup) => markup`<strong>Une application qui s’est enregistrée elle-même</strong> (${id})`,
    asks: (client: Markup) => markup`${client} souhaite accéder à votre Nextcloud en votre nom.`,
    asksUnderName: (client: Markup, name: Markup) =>
      markup`${client}, qui se présente sous le nom «\u00A0${name}\u00A0», souhaite accéder à votre Nextcloud en votre nom.`,
    callsItself: (name: Markup) => markup`L’application se présente sous le nom «\u00A0${name}\u00A0».`,
  },
  scopes: {
    none: 'Accéder à votre Nextcloud en votre nom',
    more: (count: number) => markup`et ${count} de plus`,
    meanings: {
      openid: 'Savoir qui vous êtes',
      profile: 'Voir votre nom et votre profil',
      email: 'Voir votre adresse e-mail',
      groups: 'Voir les groupes dont vous faites partie',
      offline_access: 'Conserver l’accès en votre absence',
    },
  },
  seconds: (count: number) => (count === 1 ? 'une seconde' : `${count} secondes`),
  minutes: (count: number) => `${count} minutes`,
  months: 'janvier février mars avril mai juin juillet août septembre octobre novembre décembre',
  moment: (day, month, { year, time }) => `${day === 1 ? '1er' : day} ${month} ${year}, ${time} UTC`,
  unknownTime: 'une date inconnue',
  consent: {
    title: 'Connecter votre Nextcloud\u00A0?',
    careful:
      'Ne dites oui que si vous venez vous-même de le demander à cette application. Si quelqu’un vous a envoyé ce lien, dites non.',
    asksFor: 'Accès demandé',
    next: {
      signIn:
        'Si vous dites oui, vous vous identifiez comme d’habitude, et la connexion reste active jusqu’à ce qu’il y soit mis fin.',
      appPassword:
        'Si vous dites oui, Nextcloud vous demande d’autoriser l’accès. Il crée un mot de passe d’application, que vous pouvez y révoquer à tout moment (Paramètres, Sécurité).',
      both: 'Si vous dites oui, vous vous identifiez, puis Nextcloud vous demande d’autoriser l’accès. Il crée un mot de passe d’application, que vous pouvez y révoquer à tout moment (Paramètres, Sécurité).',
    },
  },
  goingOn: {
    title: 'Vers votre page d’identification',
    useThisLink: (host: Markup) =>
      markup`Vous êtes redirigé vers ${host} pour vous identifier. S’il ne se passe rien, veuillez utiliser ce lien\u00A0:`,
  },
  waiting: {
    title: 'Donnez maintenant votre accord dans Nextcloud',
    left: (server: Markup) =>
      markup`Il reste une étape\u00A0: dans Nextcloud, autorisez ${server} à utiliser votre compte. Vous devrez peut-être d’abord vous y identifier, puis cliquer sur «\u00A0Autoriser l’accès\u00A0».`,
    ownAccount: (client: Markup) =>
      markup`Utilisez-y votre propre compte\u00A0: c’est celui auquel ${client} aura accès.`,
    open: (host: Markup) => markup`Ouvrir ${host} dans un nouvel onglet`,
    keepOpen: 'Gardez cette page ouverte. Quand vous aurez terminé, elle continuera d’elle-même en quelques secondes.',
    look: 'Vérifier maintenant',
  },
  connected: {
    title: 'Connexion établie, vous pouvez revenir à l’application',
    canWork: (client: Markup, nextcloud: Markup) =>
      markup`${client} peut maintenant accéder à votre Nextcloud sur ${nextcloud}.`,
    close:
      'Vous pouvez fermer cette page. Si l’application attendait, elle continue d’elle-même\u00A0; sinon, refaites-lui votre demande.',
    seeAll: 'Voir toutes les connexions',
    changedMind: 'Vous avez changé d’avis\u00A0?',
    disconnectIt: 'Si vous déconnectez votre Nextcloud, l’application ne pourra plus l’utiliser.',
    disconnect: 'Déconnecter',
  },
  declined: {
    title: 'Aucune connexion établie',
    saidNo: (nextcloud: Markup) =>
      markup`Vous avez dit non, donc rien n’a été connecté\u00A0: aucune application n’a obtenu par ce lien l’accès à votre Nextcloud sur ${nextcloud}. Vous pouvez fermer cette page.`,
    tookBack: (nextcloud: Markup) =>
      markup`Après avoir dit oui, vous avez dit non ou déconnecté votre Nextcloud. Rien n’a donc été connecté\u00A0: aucune application n’a obtenu par ce lien l’accès à votre Nextcloud sur ${nextcloud}. Vous pouvez fermer cette page.`,
  },
  disconnected: {
    title: 'Nextcloud est déconnecté',
    done: (nextcloud: Markup) =>
      markup`L’application ne peut plus utiliser votre Nextcloud sur ${nextcloud}. Vos fichiers, vos notes et tout le reste y sont inchangés. Vous pouvez fermer cette page.`,
    again:
      'Pour reconnecter, demandez à l’application quelque chose qui nécessite Nextcloud. Elle vous donnera un nouveau lien.',
  },
  linkUnusable: {
    title: 'Ce lien ne fonctionne plus',
    why: 'Un lien comme celui-ci peut servir une fois, pendant quelques minutes. Celui-ci a déjà servi, a expiré ou n’a pas été copié en entier. Rien n’a été modifié.',
  },
  notFromHere: {
    title: 'Veuillez ouvrir le lien à nouveau',
    why: 'Ce navigateur n’est pas reconnu comme celui qui a ouvert le lien, donc rien n’a été connecté.',
    sameBrowser: 'Ouvrez le lien dans le navigateur où vous voulez vous identifier, et répondez-y.',
  },
  otherPerson: {
    title: 'C’est un autre compte',
    tryAnother: 'Réessayer avec un autre compte',
    sent: 'Quelqu’un vous a-t-il envoyé ce lien\u00A0?',
    close:
      'Alors fermez cette page et n’utilisez plus ce lien\u00A0: il aurait donné à cette personne accès à votre Nextcloud.',
    provider: {
      why: 'Vous vous êtes identifié avec un autre compte que celui auquel ce lien est destiné. Rien n’a été connecté, et aucune de vos données n’a été conservée.',
      yours:
        'Si ce lien est bien le vôtre\u00A0: déconnectez-vous de votre service d’identification, puis réessayez avec le compte que vous utilisez dans votre application (votre client MCP).',
    },
    app: {
      why: (server: Markup) =>
        markup`Dans ce navigateur, la personne connectée à ${server} n’est pas celle à qui ce lien est destiné. Rien n’a été connecté, et aucune de vos données n’a été conservée.`,
      yours: (server: Markup) =>
        markup`Si ce lien est bien le vôtre\u00A0: déconnectez-vous de ${server}, puis identifiez-vous avec le compte que vous utilisez dans votre application (votre client MCP).`,
    },
    nextcloud: {
      why: (nextcloud: Markup) =>
        markup`Le compte dans Nextcloud sur ${nextcloud} n’est pas celui qui correspond à ce lien. Rien n’a été connecté, et aucune de vos données n’a été conservée.`,
      yours: (nextcloud: Markup) =>
        markup`Si ce lien est bien le vôtre\u00A0: déconnectez-vous de Nextcloud sur ${nextcloud}, puis réessayez avec votre propre compte.`,
    },
  },
  badAnswer: {
    title: 'Cette réponse ne peut pas être utilisée',
    why: 'La réponse arrivée ici était incomplète ou avait déjà servi. Cela se produit quand une page est rechargée ou ouverte une deuxième fois.',
    seen: 'Si vous avez déjà vu «\u00A0Connexion établie\u00A0», tout va bien, et vous pouvez fermer cette page.',
  },
  providerRefused: {
    title: 'L’identification a été refusée',
    why: 'Votre service d’identification n’a pas autorisé la connexion. Rien n’a été connecté.',
  },
  noRefreshToken: {
    title: 'La connexion ne durerait pas',
    why: (server: Markup) =>
      markup`Vous vous êtes identifié, mais le service d’identification n’a pas accordé d’accès durable (pas de jeton de renouvellement). Rien n’a donc été connecté. Vous ne pouvez rien y faire ici\u00A0: veuillez montrer cette page aux responsables de ${server}.`,
    operator: 'Pour les responsables de ce serveur',
    atProvider: 'Auprès du service d’identification, pour le client de ce serveur\u00A0:',
    switchOn: markup`Activez les jetons de renouvellement (le type d’autorisation <code>refresh_token</code>).`,
    allow: markup`Autorisez la portée <code>offline_access</code>, si le service d’identification la connaît.`,
    letConsent: markup`Laissez les utilisateurs y consentir, ou consentez pour eux. Certains services ne donnent un jeton de renouvellement qu’avec un paramètre qui leur est propre, qu’ajoute l’option <code>connect.authorizationParameters</code>.`,
  },
  unavailable: {
    title: 'Impossible pour le moment',
    provider: 'Le service d’identification ne répond pas en ce moment. Vous n’y êtes pour rien.',
    nextcloud: (nextcloud: Markup) =>
      markup`Nextcloud sur ${nextcloud} ne répond pas en ce moment. Vous n’y êtes pour rien.`,
    store: (server: Markup) =>
      markup`L’endroit où ${server} conserve les connexions ne répond pas en ce moment. Vous n’y êtes pour rien.`,
    wait: (time: string) => markup`Veuillez attendre ${time} avant de réessayer.`,
  },
  tooMany: {
    title: 'Trop de tentatives',
    why: 'La connexion de votre Nextcloud a été tentée de nombreuses fois en quelques minutes. Rien n’a été modifié.',
    wait: (time: string, server: Markup) =>
      markup`Veuillez attendre ${time} avant de réessayer. Si ce n’était pas vous, prévenez les responsables de ${server}.`,
    refused:
      'Plusieurs identifications ont échoué récemment, donc celle-ci n’a pas été menée à terme. Rien n’a été modifié.',
    inAnHour: (server: Markup) =>
      markup`Veuillez réessayer dans une heure\u00A0: retournez dans l’application d’où vous venez (votre client MCP) et refaites votre demande. Si c’est urgent, prévenez les responsables de ${server}.`,
  },
  unknownClient: {
    title: 'Nextcloud ne connaît pas ce serveur',
    why: (nextcloud: Markup, server: Markup) =>
      markup`${nextcloud} n’a pas de client OAuth 2.0 avec l’identifiant qu’utilise ${server}. Ce client y a été supprimé, ou l’identifiant est incorrect. Tant que ce n’est pas corrigé, personne ne peut s’identifier ni connecter son Nextcloud. Rien n’a été modifié.`,
    tell: (server: Markup) =>
      markup`Veuillez prévenir les responsables de ${server}. Relancez ensuite la connexion dans votre application.`,
    administrator: (nextcloud: Markup, server: Markup) =>
      markup`Pour l’administration\u00A0: dans ${nextcloud}, ajoutez un client sous Paramètres d’administration, Sécurité, Clients OAuth 2.0, avec l’URI de redirection ci-dessous. Renseignez son identifiant et sa clé secrète sur ${server}, puis redémarrez ce serveur.`,
  },
  failed: {
    title: 'Une erreur s’est produite',
    why: (server: Markup) =>
      markup`L’erreur vient du serveur et non de vous. Si elle se reproduit, veuillez prévenir les responsables de ${server}.`,
  },
  visit: {
    title: 'Voir votre connexion',
    why: (nextcloud: Markup, server: Markup) =>
      markup`Identifiez-vous pour voir quelles applications peuvent utiliser votre Nextcloud sur ${nextcloud} par l’intermédiaire de ${server}, et pour y mettre fin.`,
    lasts:
      'L’identification dit seulement à ce serveur qui vous êtes. Elle vaut pour cette page, dans ce navigateur, pendant dix minutes.',
    lastsHere:
      'L’identification dit seulement à ce serveur qui vous êtes. Elle vaut ici, dans ce navigateur, pendant une journée après la dernière utilisation et 29 jours au plus, ou jusqu’à ce que vous vous déconnectiez.',
    signIn: 'S’identifier',
    signInAt: (name: Markup) => markup`S’identifier auprès de ${name}`,
    openAgain: 'Rouvrir cette page',
    notSignedIn: 'Veuillez d’abord vous identifier',
    signInToApp: (server: Markup) =>
      markup`Cette page affiche la connexion de la personne identifiée dans l’application à laquelle appartient ${server}, et vous n’y êtes pas identifié. Identifiez-vous dans cette application avec ce navigateur, puis rouvrez cette page.`,
    cannotTell: 'Impossible sur une page',
    whoYouAre: (server: Markup) =>
      markup`L’identification ici ne permet pas à ${server} de savoir qui vous êtes dans votre application (votre client MCP), donc cette page ne peut rien afficher. Vous pouvez mettre fin à une connexion autrement\u00A0:`,
    endInApp: markup`Si votre application propose de déconnecter Nextcloud, faites-le là\u00A0: elle envoie alors <code>POST …/disconnect</code> à ce serveur.`,
    endInNextcloud:
      'Dans Nextcloud même, ouvrez vos paramètres, puis «\u00A0Sécurité\u00A0»\u00A0: sous «\u00A0Appareils et sessions\u00A0», révoquez l’accès de ce serveur.',
    forOperator: (server: Markup) =>
      markup`Pour les responsables de ${server}\u00A0: <code>connect.authenticateBrowser</code> rend cette page possible.`,
    failed: 'Vous n’êtes pas identifié',
    cameToNothing: 'L’identification n’a pas abouti, donc rien ne peut être affiché ici. Rien n’a été modifié.',
    reason: (code: Markup) => markup`La raison que donne votre service d’identification\u00A0: ${code}`,
    tryAgain: 'Réessayer',
    notYourself: (server: Markup) =>
      markup`Si vous n’avez pas interrompu vous-même et que cela se reproduit, veuillez prévenir les responsables de ${server}.`,
    over: 'Veuillez rouvrir cette page',
    noLonger: 'Vous n’êtes plus identifié ici, ou ceci n’a pas été envoyé par la page elle-même. Rien n’a été modifié.',
    tenMinutes: 'Rouvrez la page et identifiez-vous. Cela vaut pendant dix minutes.',
  },
  overview: {
    title: 'Votre connexion à Nextcloud',
    state: 'État',
    states: { none: 'Non connecté', good: 'Connecté', trouble: 'À reconnecter' },
    nothing:
      'Rien n’est connecté, et aucune application ne peut utiliser votre Nextcloud par ce serveur. Il n’y a rien à faire ici\u00A0: quand une application (votre client MCP) a besoin de votre Nextcloud, elle vous donne un lien pour le connecter.',
    trouble: {
      refused:
        'La connexion ne fonctionne pas actuellement. Nextcloud, ou votre service d’identification, ne l’accepte plus. Pour reconnecter, demandez à votre application quelque chose qui nécessite Nextcloud\u00A0: elle vous donnera un nouveau lien.',
      expired:
        'La connexion ne fonctionne pas actuellement. La durée pour laquelle votre service d’identification l’a accordée est écoulée. Pour reconnecter, demandez à votre application quelque chose qui nécessite Nextcloud\u00A0: elle vous donnera un nouveau lien.',
      elsewhere:
        'La connexion ne fonctionne pas actuellement. Elle a été établie d’une autre façon que celle qu’utilise ce serveur aujourd’hui, ou pour un autre Nextcloud. Pour reconnecter, demandez à votre application quelque chose qui nécessite Nextcloud\u00A0: elle vous donnera un nouveau lien.',
      unreadable:
        'La connexion ne fonctionne pas actuellement. Elle est conservée sous une clé que ce serveur n’a plus. Pour reconnecter, demandez à votre application quelque chose qui nécessite Nextcloud\u00A0: elle vous donnera un nouveau lien.',
    },
    apps: 'Applications qui peuvent l’utiliser',
    more: (count: number) => markup`et ${count} de plus, qui s’afficheront quand d’autres auront été retirées.`,
    callsItself: (name: Markup) => markup`Se présente sous le nom «\u00A0${name}\u00A0»`,
    since: (moment: Markup) => markup`Depuis\u00A0: ${moment}`,
    lastUsed: (moment: Markup) => markup`Dernière utilisation, environ\u00A0: ${moment}`,
    end: 'Retirer',
    endAll: 'Tout retirer',
    disconnect:
      'Si vous déconnectez votre Nextcloud, plus aucune application ne pourra l’utiliser par ce serveur. Vos fichiers, vos notes et tout le reste restent inchangés.',
    disconnectAll: 'Tout déconnecter',
    browsers: 'Navigateurs dans lesquels vous êtes identifié',
    thisBrowser: 'Ce navigateur',
    anotherBrowser: 'Un autre navigateur',
    leave: 'Vous avez terminé\u00A0?',
    leaveVisit:
      'Vous êtes identifié sur cette page pendant dix minutes au plus. Ce n’est pas votre compte\u00A0? Déconnectez-vous, puis identifiez-vous avec un autre.',
    leaveHere:
      'Si vous vous déconnectez, ce navigateur n’est plus identifié ici. Vos applications gardent leur accès. Ce n’est pas votre compte\u00A0? Déconnectez-vous aussi de Nextcloud avant de vous identifier à nouveau.',
    signOut: 'Se déconnecter',
    done: {
      one: 'Cette application ne peut plus utiliser votre Nextcloud par ce serveur.',
      all: 'Votre Nextcloud est déconnecté\u00A0: plus aucune application ne peut l’utiliser par ce serveur.',
      out: 'Vous vous êtes déconnecté de cette page.',
      'signed-out': 'Vous vous êtes déconnecté ici. Vos applications gardent leur accès.',
      browser: 'Vous êtes déconnecté dans l’autre navigateur.',
    },
    pending:
      'Nextcloud, ou votre service d’identification, n’a pas pu être joint pour y mettre fin là aussi. Ce serveur réessaie de lui-même jusqu’à ce que cela réussisse.',
  },
  signIn: {
    title: 'Autoriser cette application à utiliser votre Nextcloud\u00A0?',
    next: (nextcloud: Markup) =>
      markup`Si vous dites oui, vous vous identifiez sur ${nextcloud} et y cliquez sur «\u00A0Autoriser l’accès\u00A0».`,
    signedInAs: (user: Markup) => markup`Vous êtes identifié en tant que ${user}.`,
    sendsBackTo: 'Vous renvoie vers',
    itMay: 'Elle peut',
    careful:
      'Ne dites oui que si vous venez de connecter vous-même cette application. Si quelqu’un vous a envoyé ici, dites non.',
    yesSignIn: 'Oui, s’identifier',
    yesAllow: 'Oui, autoriser',
    appOnDevice: (host: Markup) => markup`une application sur cet appareil (${host})`,
    toNextcloud: 'Vers Nextcloud',
    toApp: 'Identification réussie, vers votre application',
    toConnections: 'Vers vos connexions',
    yourApp: 'votre application',
    yourConnections: 'vos connexions',
    unknown: 'Cette identification n’est plus valable',
    runOut:
      'Elle a été menée à terme, a expiré après dix minutes, ou a été commencée dans un autre navigateur. Rien n’a été modifié.',
    backToApp:
      'Retournez dans votre application et relancez la connexion. Si cela ne suffit pas, autorisez les cookies pour ce site.',
    anotherPerson: 'Quelqu’un d’autre est maintenant identifié ici',
    askedBefore:
      'Cette question a été posée avant que quelqu’un s’identifie ou se déconnecte dans ce navigateur, on ne peut donc plus y répondre. Rien n’a été modifié.',
    askAgain: 'Poser la question à nouveau',
    notFromHere: 'Veuillez relancer la connexion dans votre application',
    notRecognised:
      'Ce navigateur n’est pas reconnu comme celui où l’identification a été commencée, donc personne n’a été identifié.',
    sameBrowser: 'Relancez la connexion dans votre application, et restez dans le navigateur qu’elle ouvre.',
    badAnswer: (nextcloud: Markup) =>
      markup`La réponse de ${nextcloud} arrivée ici était incomplète ou avait déjà servi. Cela se produit quand une page est rechargée ou ouverte une deuxième fois.`,
    ifConnected:
      'Si votre application est connectée, tout va bien, et vous pouvez fermer cette page. Sinon, relancez-y la connexion.',
    notLetIn: (nextcloud: Markup, reason: Markup) =>
      markup`${nextcloud} n’a pas laissé ce serveur terminer l’identification, donc personne n’a été identifié. Raison indiquée\u00A0: ${reason}`,
    onceMore: (server: Markup) =>
      markup`Relancez la connexion dans votre application. Si cela se reproduit, veuillez prévenir les responsables de ${server}.`,
    wrongSecret: (server: Markup) =>
      markup`L’administration de ${server} doit vérifier le secret client enregistré pour Nextcloud, puis redémarrer ce serveur. Son journal en dit plus. Relancez ensuite la connexion dans votre application.`,
    tooMany:
      'Plusieurs identifications depuis votre réseau ont échoué récemment, donc celle-ci n’a pas été menée à terme. Personne n’a été identifié.',
    inAnHour: (server: Markup) =>
      markup`Relancez la connexion dans votre application dans une heure. Si c’est urgent, veuillez prévenir les responsables de ${server}.`,
    refused: 'L’application a demandé quelque chose d’impossible',
    cannotAnswer: (reason: Markup) =>
      markup`Votre application a envoyé une requête à laquelle ce serveur ne peut pas répondre. Raison indiquée\u00A0: ${reason}`,
    addAgain:
      'Relancez la connexion dans votre application. Si cela se reproduit, retirez-en ce serveur et ajoutez-le à nouveau.',
    wayBack:
      'Si quelqu’un vous a envoyé ici, fermez cette page. Si vous venez de connecter vous-même une application, vous pouvez lui dire ce qui s’est passé.',
    goBackTo: (place: Markup) => markup`Retourner\u00A0: ${place}`,
    otherAccount: 'Nextcloud a désigné un autre compte',
    twoAccounts:
      'Les deux réponses de Nextcloud ne désignent pas le même compte, donc personne n’a été identifié. Veuillez relancer la connexion dans votre application.',
    noAnswer: 'Une identification commence dans votre application',
    byItself: (nextcloud: Markup) =>
      markup`${nextcloud} envoie les navigateurs à cette adresse à la fin d’une identification. Ouverte seule, elle ne fait rien, et rien n’a été modifié.`,
    connectInApp: 'Lancez la connexion dans votre application. Elle ouvre la bonne page.',
    redirectUri: (uri: Markup) =>
      markup`Pour l’administration\u00A0: l’URI de redirection du client OAuth 2.0 dans Nextcloud doit être ${uri}`,
  },
}
