"""Mail goes through rspamd and ClamAV in their containers: `make test-deploy-full`."""

from __future__ import annotations

import base64

from tests.deploy.suite.installation import Installation
from tests.deploy.suite.post_office import PostOffice

SPAMMER, INFECTED, ANNE = 80, 81, 82
# https://spamassassin.apache.org/gtube/
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
# https://www.eicar.org/download-anti-malware-testfile/, not as it stands: virus scanners of those who work on
# this file would take it away.
EICAR = base64.b64decode("WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FS") + (
    b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
)


def test_spam_and_viruses_get_no_answer(suite: Installation, post: PostOffice) -> None:
    post.send(SPAMMER, f"Bonjour,\n\n{GTUBE}\n")
    post.send(INFECTED, "Bonjour, voici mon contrat.", EICAR)
    post.send(ANNE, "Bonjour, quelle est la durée du travail ?")
    assert len(post.until(ANNE)) == 1
    counted = suite.script("deploy/compose.sh", "exec", "-T", "mail", "mail-service", "counters")
    print(counted)
    assert "ignored: spam" in counted
    assert "ignored: infected" in counted
    assert post.answers(SPAMMER) == post.answers(INFECTED) == []
