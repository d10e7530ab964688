"""The words of spam, in French and English, and those of whoever asks about labour law: plain data.

Regular expressions, in which case does not count; each takes only a few steps a character.
"""

from __future__ import annotations

PHRASES: dict[str, tuple[float, str]] = {
    # Every filter must know it: https://spamassassin.apache.org/gtube/
    "gtube": (100.0, r"XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\*C\.34X"),
    "click_here": (
        2.0,
        (
            r"cliqu(?:ez|ant) (?:ici|sur (?:ce|le) (?:lien|bouton)|ci-dessous)"
            r"|click(?:ing)? (?:here|below|the button|the link)"
            r"|t[ée]l[ée]charge(?:r|z|ant) (?:vos|le|votre) (?:fichiers?|documents?)|review document"
        ),
    ),
    "account": (
        2.5,
        (
            r"(?:votre|your) (?:compte|acc[èe]s|account|mailbox|bo[îi]te|page|domain|password)\W.{0,"
            r"40}(?:suspen|limit|bloqu|d[ée]sactiv|expire|deleted|pleine|atteint)|avoid suspension"
            r"|[ée]viter le blocage"
        ),
    ),
    "credentials": (
        2.5,
        (
            r"(?:confirm|v[ée]rifi|valid|verify|mett(?:ez|re) [àa] jour|remplissez).{0,30}(?:votre|v"
            r"os|your|le formulaire).{0,25}(?:identit|compte|coordonn|account|carte|paiement|informa"
            r"tions|password|application)?|email password|bank details|keep the same password"
        ),
    ),
    "payment": (
        2.0,
        (
            r"frais de (?:douane|livraison)|customs fees|delivery fee|renewal fee|amende impay"
            r"|facture impay|carte bancaire|paiement a [ée]t[ée] refus|unpaid customs"
            r"|(?:sous|in|within) (?:24|48) ?(?:h|heures|hours)\b|avant 48 ?h"
        ),
    ),
    "refund": (
        2.0,
        (
            r"(?:vous avez|you have) (?:droit [àa] un|a) (?:remboursement|refund)"
            r"|carte vitale est disponible"
        ),
    ),
    "prize": (
        3.0,
        (
            r"f[ée]licitations.{0,60}(?:gagn|s[ée]lectionn|tir[ée]e au sort)"
            r"|vous avez (?:[ée]t[ée] s[ée]lectionn|gagn[ée] \d)|tir[ée]e au sort"
            r"|you(?:'ve| have) won|bon d['’]achat|lott?er(?:y|ie)|giveaway"
        ),
    ),
    "fortune": (
        3.0,
        (
            r"next of kin|beneficiary|inheritance of|don de ma fortune|recevoir ce don"
            r"|million(?:s)? (?:de )?(?:dollars|usd)|phase terminale|compensation fund|western union"
            r"|transfer the fund|god bless"
        ),
    ),
    "blackmail": (
        4.0,
        (
            r"(?:recorded you|enregistr[ée]e?s?) .{0,30}webcam|to all your contacts"
            r"|[àa] tous vos contacts|pirat[ée] votre"
        ),
    ),
    "loan": (
        3.0,
        (
            r"pr[êe]t (?:rapide|entre particuliers|sans justificatif)|no credit check|bad credit"
            r"|guaranteed approval"
        ),
    ),
    "easy_money": (
        3.0,
        (
            r"gagnez (?:\d|de l['’]argent)|(?:earn|make) \$\d|rendement garanti|double your"
            r"|investissez \d|sans exp[ée]rience, ?inscri|mystery shopper|trading bitcoin"
            r"|receive 0\.\d|sans rien faire"
        ),
    ),
    "coins": (
        1.5,
        (r"\bbitcoins?\b|\bbtc\b|\bcrypto"),
    ),
    "seo": (
        3.5,
        (
            r"\bseo\b|backlinks?|first page of google|premi[èe]re page de google|guest post"
            r"|do-?follow|boost your traffic|(?:i|we) noticed your website|on your website and found"
            r"|web ?design and|analys[ée] votre site"
        ),
    ),
    "leads": (
        3.5,
        (
            r"email list|verified contacts|rendez-vous commerciaux|prospection"
            r"|professional manufacturer|competitive prices?|r[ée]pondez stop"
            r"|15 min(?:utes)? (?:pour|call|for)|catalogue and quotation"
        ),
    ),
    "pills": (
        3.5,
        (
            r"viagra|cialis|without prescription|rx pills|keto\b|perdez (?:du poids|\d+ ?kg)"
            r"|lose weight"
        ),
    ),
    "goods": (
        3.0,
        (r"replica|rolex"),
    ),
    "gambling": (
        3.0,
        (r"casino en ligne|tours gratuits|free spins|bonus offert|de bonus et|jouez maintenant"),
    ),
    "dating": (
        3.5,
        (r"c[ée]libataires? pr[èe]s|hot photos|single woman|rencontre ce soir|hot singles"),
    ),
    "offer": (
        2.0,
        (
            r"offre (?:exceptionnelle|limit[ée]e|flash|early|de pr[êe]t)|special offer|limited time"
            r"|code promo|livraison gratuite|free shipping|ventes? flash|soldes priv|devis gratuit"
            r"|free trial|order now|buy now|act now|apply now|pay now|j['’]en profite"
            r"|r[ée]servez vite|inscri(?:vez|ption)[- ](?:vous|gratuite)|satisfait ou rembours"
            r"|100 ?% (?:gratuit|financ|free)|commandez ?:|profitez d|places limit[ée]es"
            r"|testez votre [ée]ligibilit|comparez gratuitement|economisez|[ée]conomisez"
        ),
    ),
    "percent": (
        1.5,
        (r"[-–−] ?\d{2} ?%|\d{2} ?% off"),
    ),
    "newsletter": (
        3.0,
        (
            r"d[ée]sinscrire|d[ée]sabonner|unsubscribe|version en ligne|in your browser"
            r"|ne s['’]affiche pas correctement|vous recevez ce message car|newsletter"
        ),
    ),
    "chat": (
        1.5,
        (r"whats ?app"),
    ),
    "errand": (
        3.0,
        (r"cartes? cadeaux|gift cards?|virement urgent|envoyez-moi les codes"),
    ),
    "stranger": (
        1.5,
        (
            r"dear (?:friend|sir/madam|customer|beneficiary)|cher (?:ami|client)"
            r"|attention beneficiary|hello dear"
        ),
    ),
    "droits_cpf": (
        2.5,
        (r"vos droits cpf|droits cpf expirent"),
    ),
    "message_waiting": (
        2.0,
        (r"new voice message|received a document|re[çc]u \d+ fichiers|colis n['’]a pas pu"),
    ),
}
"""By name: the points of a sign, and what gives it away."""

BRANDS = (
    r"paypal|netflix|amazon|colissimo|chronopost|la poste|ameli|assurance maladie|imp[oô]ts|antai"
    r"|cr[ée]dit agricole|\bbnp\b|soci[ée]t[ée] g[ée]n[ée]rale|\borange\b|\bsfr\b|microsoft|apple"
    r"|google|\bdhl\b|\bups\b|\bedf\b|\bcaf\b|carrefour|docusign|wetransfer|facebook|\bmeta\b"
    r"|united nations"
)
"""In whose name people phish."""

LAW = (
    r"licenci|cong[ée]s?\b|pr[ée]avis|d[ée]mission|employeur|mon (?:patron|chef|boss)|mon entreprise"
    r"|prud['’]?hom|harc[èe]lement|contrat de travail|code du travail|\bcd[di]\b|salaire|salari[ée]"
    r"|heures suppl|rupture conventionnelle|\bsmic\b|arr[êe]t maladie|p[ée]riode d['’]essai"
    r"|solde de tout compte|convention collective|t[ée]l[ée]travail|retraite|apprenti|stage\b"
    r"|gr[èe]ve|accident du travail|mise [àa] pied|my (?:boss|employer|job)|notice period|overtime"
    r"|dismiss|wages|resign|payslip|redundan|employees?\b|fire me|work(?:ed|ing)? in france|\bpaie\b"
    r"|\brtt\b|jours de carence"
)
"""What is asked here."""
