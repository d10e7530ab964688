"""What the bot itself says, in its two languages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import SEPARATOR, Button, Creativity, Keyboard, Length, UserSettings


class Phrase(StrEnum):
    """Each has a text in every language; braces are filled in."""

    WELCOME = "welcome"
    HELP = "help"
    PRIVACY = "privacy"
    SETTINGS = "settings"
    MODELS = "models"
    SWITCHED = "switched"
    NO_SUCH_MODEL = "no_such_model"
    MODEL_GONE = "model_gone"
    RESET = "reset"
    NOTHING_RUNS = "nothing_runs"
    NOTHING_TO_RETRY = "nothing_to_retry"
    FORGET_ASK = "forget_ask"
    FORGOTTEN = "forgotten"
    KEPT = "kept"
    NOT_ALLOWED = "not_allowed"
    ADMINS_ONLY = "admins_only"
    UNKNOWN_COMMAND = "unknown_command"
    OLD_BUTTON = "old_button"
    SLOW_DOWN = "slow_down"
    TOO_MANY = "too_many"
    USED_UP = "used_up"
    PLEASE_WAIT = "please_wait"
    TAKES_LONGER = "takes_longer"
    APOLOGY = "apology"
    TOO_LONG = "too_long"
    EMPTY_ANSWER = "empty_answer"
    CUT_SHORT = "cut_short"
    NO_FILES = "no_files"
    NO_VOICE = "no_voice"
    VOICE_UNCLEAR = "voice_unclear"
    ABOUT_DOCUMENT = "about_document"
    ABOUT_PICTURE = "about_picture"
    DOCUMENT_CUT = "document_cut"
    FILE_TOO_LARGE = "file_too_large"
    FILE_TOO_MUCH = "file_too_much"
    FILE_ENCRYPTED = "file_encrypted"
    FILE_UNREADABLE = "file_unreadable"
    FILE_NOT_INSTALLED = "file_not_installed"
    FILE_EMPTY = "file_empty"
    FILE_GONE = "file_gone"
    PRIVATE_ONLY = "private_only"
    EXPORT_FAILED = "export_failed"
    STATUS = "status"
    STATUS_AWAY = "status_away"
    QUEUE_EMPTY = "queue_empty"
    QUEUE = "queue"
    MODELS_AWAY = "models_away"
    HELP_ADMIN = "help_admin"
    STATS = "stats"
    BAN_USAGE = "ban_usage"
    BANNED = "banned"
    LET_IN = "let_in"
    BROADCAST_USAGE = "broadcast_usage"
    BROADCAST_ASK = "broadcast_ask"
    BROADCAST_NOBODY = "broadcast_nobody"
    BROADCAST_TOO_LONG = "broadcast_too_long"
    BROADCAST_BEGUN = "broadcast_begun"
    BROADCAST_STOPPED = "broadcast_stopped"
    BROADCAST_REPORT = "broadcast_report"


_FRENCH: Mapping[Phrase, str] = {
    Phrase.WELCOME: """Bonjour ! Je suis **Neo**. Posez-moi une question, en français ou en anglais.

Vos messages restent sur le serveur de l'opérateur : aucun service extérieur ne les lit. Ils sont chiffrés \
et effacés après {days} jours. /export vous les donne, /forget efface tout.

/help montre tout ce que je sais faire.""",
    Phrase.HELP: """Écrivez simplement votre question, ou envoyez un document (PDF, Word, texte), une image, \
dont je ne lis que le texte, ou un message vocal, si je peux entendre ici. Et aussi :

/reset – commencer une nouvelle conversation
/stop – arrêter la réponse en cours
/retry – répondre encore à la dernière question
/models – choisir un modèle
/settings – modèle, langue, longueur, créativité
/status – l'état du service
/export – tout ce que je garde sur vous
/forget – tout effacer
/privacy – ce que deviennent vos messages""",
    Phrase.PRIVACY: """Vos messages et mes réponses sont gardés {days} jours sur le serveur de l'opérateur, \
chiffrés, pour que je me souvienne de notre conversation. Les modèles tournent sur ce même serveur. Rien \
n'est envoyé ailleurs, rien ne sert à entraîner un modèle, et aucun journal ne contient vos textes.

/export vous donne tout, /forget efface tout, tout de suite.""",
    Phrase.SETTINGS: "Vos réglages. Touchez pour changer.",
    Phrase.MODELS: "Quel modèle doit répondre ?",
    Phrase.SWITCHED: "C'est maintenant {model} qui répond.",
    Phrase.NO_SUCH_MODEL: "Il n'y a pas de modèle « {model} ». /models montre ceux qu'il y a.",
    Phrase.MODEL_GONE: "Le modèle {model} n'est plus là ; {default} répond à sa place.",
    Phrase.RESET: "Nouvelle conversation. Je ne pense plus à ce que nous avons dit.",
    Phrase.NOTHING_RUNS: "Je ne suis pas en train de répondre.",
    Phrase.NOTHING_TO_RETRY: "Il n'y a pas encore de question à reprendre.",
    Phrase.FORGET_ASK: "Effacer tout ce que je garde sur vous : messages, réglages, compteurs ? "
    "On ne pourra pas revenir en arrière.",
    Phrase.FORGOTTEN: "C'est fait : je ne sais plus rien de vous.",
    Phrase.KEPT: "Rien n'a été effacé.",
    Phrase.NOT_ALLOWED: "Ce bot n'est ouvert qu'à certaines personnes. Votre numéro est {user} : "
    "donnez-le à l'opérateur pour être admis.",
    Phrase.ADMINS_ONLY: "Cette commande est réservée aux administrateurs.",
    Phrase.UNKNOWN_COMMAND: "Je ne connais pas cette commande. /help montre celles qu'il y a.",
    Phrase.OLD_BUTTON: "Ce bouton n'est plus valable.",
    Phrase.SLOW_DOWN: "Cela fait beaucoup de messages. Réessayez dans {seconds} s, s'il vous plaît.",
    Phrase.TOO_MANY: "Beaucoup de monde m'écrit en ce moment, et je n'y arrive plus. "
    "Réessayez dans {seconds} s, s'il vous plaît.",
    Phrase.USED_UP: "Vous avez utilisé ce qui est prévu pour aujourd'hui. Réessayez dans {hours} h.",
    Phrase.TAKES_LONGER: "La réponse prend un peu plus de temps que d'habitude ; elle viendra ici même …",
    Phrase.PLEASE_WAIT: "Beaucoup de monde pose des questions ; la réponse prend un peu plus de temps…",
    Phrase.APOLOGY: "Je n'arrive pas à répondre en ce moment, et j'en suis désolé. "
    "Votre question est gardée : /retry la reprend.",
    Phrase.TOO_LONG: "C'est trop long pour moi. Raccourcissez la question, ou commencez par /reset.",
    Phrase.EMPTY_ANSWER: "Je n'ai rien trouvé à répondre. Dites-le autrement ?",
    Phrase.CUT_SHORT: "(arrêté)",
    Phrase.NO_FILES: "Je ne lis pas ce genre de fichier. Envoyez le texte, ou un PDF, DOCX, TXT ou MD.",
    Phrase.NO_VOICE: "Je n'entends pas encore les messages vocaux. Écrivez-moi, s'il vous plaît.",
    Phrase.VOICE_UNCLEAR: "Je n'ai rien compris à cet enregistrement. Répétez, ou écrivez-moi, "
    "s'il vous plaît.",
    Phrase.ABOUT_DOCUMENT: "Résumez ce document en quelques phrases, s'il vous plaît.",
    Phrase.ABOUT_PICTURE: "Que dit ce texte, en quelques phrases, s'il vous plaît ?",
    Phrase.DOCUMENT_CUT: "(Ce document est long : je n'en ai lu que les {characters} premiers caractères.)",
    Phrase.FILE_TOO_LARGE: "Ce fichier est trop lourd pour moi : {megabytes} Mo au plus.",
    Phrase.FILE_TOO_MUCH: "Ce fichier me demande trop de travail. Envoyez-en les pages importantes, "
    "ou leur texte.",
    Phrase.FILE_ENCRYPTED: "Ce fichier est protégé par un mot de passe. Envoyez-le sans protection, "
    "s'il vous plaît.",
    Phrase.FILE_UNREADABLE: "Je n'arrive pas à ouvrir ce fichier : il est abîmé, ou n'est pas ce que dit "
    "son nom.",
    Phrase.FILE_NOT_INSTALLED: "Ce serveur ne sait pas encore lire ce genre de fichier. Envoyez le texte, "
    "s'il vous plaît.",
    Phrase.FILE_EMPTY: "Je ne trouve pas de texte dans ce fichier. Si ce sont des pages numérisées, "
    "envoyez-les comme images, ou envoyez le texte.",
    Phrase.FILE_GONE: "Je n'ai pas réussi à recevoir ce fichier, et j'en suis désolé. "
    "Renvoyez-le, s'il vous plaît.",
    Phrase.PRIVATE_ONLY: "Vos données ne regardent que vous : demandez-les-moi dans notre conversation "
    "privée.",
    Phrase.EXPORT_FAILED: "Je n'ai pas réussi à vous envoyer le fichier, et j'en suis désolé. "
    "Réessayez dans un instant, s'il vous plaît.",
    Phrase.STATUS: """Tout fonctionne.

Modèle : {model}
File d'attente : {queue}""",
    Phrase.STATUS_AWAY: """Je suis là, mais les modèles ne répondent pas en ce moment. Écrivez votre \
question : je la garde, et j'y réponds dès que possible.

File d'attente : {queue}""",
    Phrase.QUEUE_EMPTY: "vide, je réponds tout de suite",
    Phrase.QUEUE: "{count} message(s) avant le vôtre",
    Phrase.MODELS_AWAY: "Les modèles ne répondent pas en ce moment. Réessayez dans un instant, "
    "s'il vous plaît.",
    Phrase.HELP_ADMIN: """Pour les administrateurs :

/stats – l'usage du service
/ban et /unban – exclure quelqu'un, ou l'admettre de nouveau
/broadcast – écrire à tout le monde""",
    Phrase.STATS: """Personnes connues : {known}, dont {today} depuis hier et {week} en sept jours
Personnes exclues : {banned}
Messages en attente : {pending}, le plus ancien depuis {oldest} s
Réponses encore à envoyer : {unsent}
Envois dont on ne sait pas s'ils sont arrivés : {unknown} ; répétés : {repeated}
Messages abandonnés : {dead}""",
    Phrase.BAN_USAGE: "Donnez le numéro de la personne, par exemple : /{command} 123456789",
    Phrase.BANNED: "{user} est exclu : ses messages restent sans réponse. /unban {user} l'admet de nouveau.",
    Phrase.LET_IN: "{user} est admis de nouveau.",
    Phrase.BROADCAST_USAGE: "Écrivez le message après la commande, par exemple :\n"
    "/broadcast Le service s'arrête ce soir pendant une heure.",
    Phrase.BROADCAST_ASK: "Envoyer ce message à {count} personne(s) ?",
    Phrase.BROADCAST_NOBODY: "Il n'y a encore personne à qui écrire.",
    Phrase.BROADCAST_TOO_LONG: "C'est trop long pour un seul message : 4096 caractères au plus.",
    Phrase.BROADCAST_BEGUN: "L'envoi à {count} personne(s) a commencé. Je vous dirai comment il s'est passé.",
    Phrase.BROADCAST_STOPPED: "L'envoi est arrêté.",
    Phrase.BROADCAST_REPORT: """L'envoi est terminé.

Reçu : {sent}
Peut-être reçu : {unknown}
Ne veulent plus du bot : {blocked}
Refusé par Telegram : {refused}
Non envoyé, car arrêté : {stopped}""",
}

_ENGLISH: Mapping[Phrase, str] = {
    Phrase.WELCOME: """Hello! I am **Neo**. Ask me anything, in English or in French.

Your messages stay on the operator's server: no outside service reads them. They are encrypted and deleted \
after {days} days. /export gives them to you, /forget deletes everything.

/help shows all that I can do.""",
    Phrase.HELP: """Just write your question, or send a document (PDF, Word, text), an image, of which I \
read only the text, or a voice message, if I can hear here. And also:

/reset – begin a new conversation
/stop – end the answer that is being written
/retry – answer the last question again
/models – choose a model
/settings – model, language, length, creativity
/status – how the service is doing
/export – all that I keep about you
/forget – delete everything
/privacy – what becomes of your messages""",
    Phrase.PRIVACY: """Your messages and my answers are kept for {days} days on the operator's server, \
encrypted, so that I remember our conversation. The models run on that same server. Nothing is sent anywhere \
else, nothing is used to train a model, and no log holds your texts.

/export gives you everything, /forget deletes everything, at once.""",
    Phrase.SETTINGS: "Your settings. Tap to change them.",
    Phrase.MODELS: "Which model shall answer?",
    Phrase.SWITCHED: "{model} answers now.",
    Phrase.NO_SUCH_MODEL: "There is no model '{model}'. /models shows those that there are.",
    Phrase.MODEL_GONE: "The model {model} is gone; {default} answers instead.",
    Phrase.RESET: "A new conversation. I no longer think of what we said.",
    Phrase.NOTHING_RUNS: "I am not answering anything just now.",
    Phrase.NOTHING_TO_RETRY: "There is no question yet to take up again.",
    Phrase.FORGET_ASK: "Delete all that I keep about you: messages, settings, counters? "
    "This cannot be undone.",
    Phrase.FORGOTTEN: "Done: I know nothing about you any more.",
    Phrase.KEPT: "Nothing was deleted.",
    Phrase.NOT_ALLOWED: "This bot is open to some people only. Your number is {user}: "
    "give it to the operator to be let in.",
    Phrase.ADMINS_ONLY: "This command is for administrators.",
    Phrase.UNKNOWN_COMMAND: "I do not know this command. /help shows those that there are.",
    Phrase.OLD_BUTTON: "This button is no longer valid.",
    Phrase.SLOW_DOWN: "That is a lot of messages. Please try again in {seconds} s.",
    Phrase.TOO_MANY: "Many people are writing to me just now, more than I can answer. "
    "Please try again in {seconds} s.",
    Phrase.USED_UP: "You have used what there is for today. Please try again in {hours} h.",
    Phrase.TAKES_LONGER: "The answer takes a little longer than usual; it will come right here …",
    Phrase.PLEASE_WAIT: "Many people are asking; the answer takes a little longer…",
    Phrase.APOLOGY: "I cannot answer just now, and I am sorry. Your question is kept: "
    "/retry takes it up again.",
    Phrase.TOO_LONG: "This is too long for me. Shorten the question, or begin with /reset.",
    Phrase.EMPTY_ANSWER: "I found nothing to say. Could you put it differently?",
    Phrase.CUT_SHORT: "(stopped)",
    Phrase.NO_FILES: "I cannot read this kind of file. Send the text, or a PDF, DOCX, TXT or MD.",
    Phrase.NO_VOICE: "I cannot hear voice messages yet. Please write to me.",
    Phrase.VOICE_UNCLEAR: "I understood nothing in this recording. Please say it again, or write to me.",
    Phrase.ABOUT_DOCUMENT: "Please sum up this document in a few sentences.",
    Phrase.ABOUT_PICTURE: "What does this text say? A few sentences, please.",
    Phrase.DOCUMENT_CUT: "(This document is long: I read only its first {characters} characters.)",
    Phrase.FILE_TOO_LARGE: "This file is too large for me: {megabytes} MB at most.",
    Phrase.FILE_TOO_MUCH: "This file is too much work for me. Send the pages that matter, or their text.",
    Phrase.FILE_ENCRYPTED: "This file has a password. Please send it without one.",
    Phrase.FILE_UNREADABLE: "I cannot open this file: it is damaged, or not what its name says.",
    Phrase.FILE_NOT_INSTALLED: "This server cannot read this kind of file yet. Please send the text.",
    Phrase.FILE_EMPTY: "I find no text in this file. If these are scanned pages, send them as pictures, "
    "or send the text.",
    Phrase.FILE_GONE: "I could not receive this file, and I am sorry. Please send it again.",
    Phrase.PRIVATE_ONLY: "Your data is nobody else's business: ask me for it in our private chat.",
    Phrase.EXPORT_FAILED: "I could not send you the file, and I am sorry. Please try again in a moment.",
    Phrase.STATUS: """Everything works.

Model: {model}
Queue: {queue}""",
    Phrase.STATUS_AWAY: """I am here, but the models do not answer just now. Write your question: I keep \
it, and answer as soon as I can.

Queue: {queue}""",
    Phrase.QUEUE_EMPTY: "empty, I answer at once",
    Phrase.QUEUE: "{count} message(s) before yours",
    Phrase.MODELS_AWAY: "The models do not answer just now. Please try again in a moment.",
    Phrase.HELP_ADMIN: """For administrators:

/stats – how the service is used
/ban and /unban – shut somebody out, or let them in again
/broadcast – write to everybody""",
    Phrase.STATS: """People known: {known}, of whom {today} since yesterday and {week} in seven days
People shut out: {banned}
Messages that wait: {pending}, the oldest for {oldest} s
Answers still to be sent: {unsent}
Sends that may or may not have arrived: {unknown}; repeated: {repeated}
Messages given up: {dead}""",
    Phrase.BAN_USAGE: "Give the person's number, for example: /{command} 123456789",
    Phrase.BANNED: "{user} is shut out: their messages get no answer. /unban {user} lets them in again.",
    Phrase.LET_IN: "{user} is let in again.",
    Phrase.BROADCAST_USAGE: "Write the message behind the command, for example:\n"
    "/broadcast The service stops for an hour tonight.",
    Phrase.BROADCAST_ASK: "Send this message to {count} person(s)?",
    Phrase.BROADCAST_NOBODY: "There is nobody to write to yet.",
    Phrase.BROADCAST_TOO_LONG: "This is too long for one message: 4096 characters at most.",
    Phrase.BROADCAST_BEGUN: "Sending to {count} person(s) has begun. I shall tell you how it went.",
    Phrase.BROADCAST_STOPPED: "It is not sent any further.",
    Phrase.BROADCAST_REPORT: """It is sent.

Received: {sent}
Perhaps received: {unknown}
Want no more of the bot: {blocked}
Refused by Telegram: {refused}
Not sent, because stopped: {stopped}""",
}

_PHRASES = {Language.FRENCH: _FRENCH, Language.ENGLISH: _ENGLISH}

_COMMANDS: Mapping[Language, Mapping[str, str]] = {
    Language.FRENCH: {
        "start": "Commencer",
        "help": "Ce que je sais faire",
        "reset": "Nouvelle conversation",
        "stop": "Arrêter la réponse",
        "retry": "Répondre encore",
        "models": "Choisir un modèle",
        "settings": "Réglages",
        "status": "État du service",
        "export": "Mes données",
        "forget": "Tout effacer",
        "privacy": "Vie privée",
    },
    Language.ENGLISH: {
        "start": "Begin",
        "help": "What I can do",
        "reset": "New conversation",
        "stop": "Stop the answer",
        "retry": "Answer again",
        "models": "Choose a model",
        "settings": "Settings",
        "status": "State of the service",
        "export": "My data",
        "forget": "Delete everything",
        "privacy": "Privacy",
    },
}

_LABELS: Mapping[Language, Mapping[str, str]] = {
    Language.FRENCH: {
        "short": "Court",
        "normal": "Normal",
        "long": "Long",
        "precise": "Précis",
        "balanced": "Équilibré",
        "creative": "Créatif",
        "": "Langue : auto",
        "fr": "Français",
        "en": "English",
        "on": "Au fil de l'eau",
        "off": "D'un coup",
        "yes": "Oui, tout effacer",
        "no": "Non",
        "models": "Choisir le modèle…",
        "send": "Envoyer",
        "stop": "Ne pas envoyer",
        "halt": "Arrêter l'envoi",
    },
    Language.ENGLISH: {
        "short": "Short",
        "normal": "Normal",
        "long": "Long",
        "precise": "Precise",
        "balanced": "Balanced",
        "creative": "Creative",
        "": "Language: auto",
        "fr": "Français",
        "en": "English",
        "on": "As it is written",
        "off": "All at once",
        "yes": "Yes, delete everything",
        "no": "No",
        "models": "Choose the model…",
        "send": "Send",
        "stop": "Do not send",
        "halt": "Stop sending",
    },
}
CHOSEN = "✓ "
SHOW_MODELS = "models:show"


def phrase(which: Phrase, language: Language, **values: object) -> str:
    """A text, as Markdown."""
    return _PHRASES[language][which].format(**values)


def commands(language: Language) -> Mapping[str, str]:
    """The bot's menu: what each command does."""
    return _COMMANDS[language]


def settings_keyboard(settings: UserSettings, language: Language) -> Keyboard:
    """All choices, the present ones marked."""

    def row(name: str, values: tuple[str, ...], present: str) -> tuple[Button, ...]:
        return tuple(
            Button(
                (CHOSEN if value == present else "") + _LABELS[language][value], f"{name}{SEPARATOR}{value}"
            )
            for value in values
        )

    return (
        (Button(_LABELS[language]["models"], SHOW_MODELS),),
        row("length", tuple(Length), settings.length),
        row("creativity", tuple(Creativity), settings.creativity),
        row("language", ("", *Language), settings.language or ""),
        row("streaming", ("on", "off"), "on" if settings.streaming else "off"),
    )


def forget_keyboard(language: Language) -> Keyboard:
    """Whether to delete everything."""
    labels = _LABELS[language]
    return ((Button(labels["yes"], "forget:yes"), Button(labels["no"], "forget:no")),)


def draft_keyboard(number: int, language: Language) -> Keyboard:
    """Whether to send a broadcast."""
    labels = _LABELS[language]
    return (
        (
            Button(labels["send"], f"broadcast:go:{number}"),
            Button(labels["stop"], f"broadcast:stop:{number}"),
        ),
    )


def broadcast_keyboard(number: int, language: Language) -> Keyboard:
    """Whether to stop it."""
    return ((Button(_LABELS[language]["halt"], f"broadcast:stop:{number}"),),)
