"""However a question is computed, alone or among others, the answer is the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ai_core_service import QUESTIONS, SYSTEM, Server, Start


def ask_together(server: Server, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        responses = list(pool.map(lambda body: server.post("/api/v1/chat", body), bodies))
    assert [response.status_code for response in responses] == [200] * len(bodies)
    return [response.json() for response in responses]


def test_answers_computed_together_equal_answers_computed_alone(server: Server) -> None:
    alone = [server.say(question)["response"] for question in QUESTIONS]
    bodies: list[dict[str, Any]] = [
        {"prompt": question, "temperature": 0, "cache": "never"} for question in QUESTIONS
    ]
    assert [answer["response"] for answer in ask_together(server, bodies)] == alone


def test_a_shared_prefix_changes_no_answer(start: Start) -> None:
    fresh = start()
    bodies: list[dict[str, Any]] = [
        {
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
            "temperature": 0,
            "cache": "never",
        }
        for question in QUESTIONS
    ]
    first = [fresh.post("/api/v1/chat", body).json() for body in bodies]
    again = ask_together(fresh, bodies)
    # The server's first answer, in running(), left the token that begins every message.
    assert first[0]["usage"]["cached_prompt_tokens"] <= 1
    assert all(answer["usage"]["cached_prompt_tokens"] > 64 for answer in first[1:] + again)
    assert [answer["response"] for answer in again] == [answer["response"] for answer in first]


def test_requests_that_arrive_together_compute_their_shared_prefix_once(start: Start) -> None:
    server = start()
    system = SYSTEM + " Réponds avec courtoisie."
    bodies: list[dict[str, Any]] = [
        {
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
            "max_tokens": 4,
        }
        for question in QUESTIONS
    ]
    answers = ask_together(server, bodies)
    prompt_tokens = sum(answer["usage"]["prompt_tokens"] for answer in answers)
    cached = sum(answer["usage"]["cached_prompt_tokens"] for answer in answers)
    longest = max(answer["usage"]["prompt_tokens"] for answer in answers)
    rest = prompt_tokens - cached
    # One whole prompt, and of each other one only what is its own.
    assert rest < longest + 40 * len(QUESTIONS)


def test_a_seed_reproduces_an_answer_and_another_seed_does_not(start: Start) -> None:
    # A server of its own: in a cache that others have filled, a sequence's cells lie in another order,
    # sums are added up in that order, and at temperature 2 the last bit of a sum decides.
    server = start()
    options = {"temperature": 2.0, "top_p": 1.0, "max_tokens": 24}
    # Asked once before, so that each run finds the same prefix: sums of another shape round otherwise.
    server.say(QUESTIONS[0], seed=1, **options)
    first = server.say(QUESTIONS[0], seed=7, **options)["response"]
    again = server.say(QUESTIONS[0], seed=7, **options)["response"]
    others = {server.say(QUESTIONS[0], seed=seed, **options)["response"] for seed in range(8, 12)}
    assert again == first
    assert others != {first}


def test_a_stream_says_what_the_whole_answer_says(server: Server) -> None:
    whole = server.say(QUESTIONS[1])
    with server.stream({"prompt": QUESTIONS[1], "temperature": 0, "stream": True}) as events:
        received = list(events)
    assert "".join(event["delta"] for event in received if "delta" in event) == whole["response"]
    assert len(received) > 3
    assert received[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
