"""The operator's lists in the running service."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from ai_core_service import AI_CORE, DEMO_MODEL, QUESTIONS, Start, wait_until


def test_lists_hold_and_are_read_again_on_hangup(start: Start, tmp_path: Path) -> None:
    lists = tmp_path / "filter.txt"
    lists.write_text("[prompt]\nword: licorne\n")
    server = start(CONTENT_FILTER_PATH=str(lists))
    refused = server.post("/api/v1/chat", {"prompt": "Une LICORNE ?"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_filtered")
    answer = server.say(QUESTIONS[0])
    assert answer["finish_reason"] == "stop"

    word = answer["response"].split()[2].strip(".,!?")
    lists.write_text(f"[answer]\nword: {word}\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("content filter reloaded" in line for line in server.log), "the lists were read")
    cut_short = server.say(QUESTIONS[0])
    assert cut_short["finish_reason"] == "content_filter"
    assert word not in cut_short["response"]
    assert answer["response"].startswith(cut_short["response"])
    with server.stream({"prompt": QUESTIONS[0], "temperature": 0, "stream": True}) as events:
        shown = list(events)
    assert "".join(event.get("delta", "") for event in shown) == cut_short["response"]
    assert shown[-1]["finish_reason"] == "content_filter"
    assert server.metric("neo_content_filtered_total", direction="answer") == 2

    lists.write_text("[answer]\nregex: (a\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("not reloaded" in line for line in server.log), "the mistake was noticed")
    assert server.say(QUESTIONS[0])["finish_reason"] == "content_filter"


def test_a_mistake_in_the_lists_is_named_before_anything_starts(tmp_path: Path) -> None:
    lists = tmp_path / "filter.txt"
    lists.write_text("[both]\nword: fine\nregex: a+\n\nwrod: x\n")
    done = subprocess.run(
        [AI_CORE, "serve"],
        env={"PATH": os.environ["PATH"], "MODEL_PATH": str(DEMO_MODEL), "CONTENT_FILTER_PATH": str(lists)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"ai-core: {lists}, line 3: '+' has no upper bound; write for instance '{{1,40}}' instead.",
        f"ai-core: {lists}, line 5: a rule begins with 'word:' or 'regex:'.",
    ]
