"""``ai-core models pull``: a model of the models file, or what a repository of the hub offers."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from ai_core.catalog.hub.messages import Completed, Event, Failed, Moved, Order, Planned, Waiting
from ai_core.catalog.hub.orders import order_for, order_of_repository
from ai_core.catalog.hub.puller import Puller
from ai_core.catalog.hub.sizes import in_words
from ai_core.catalog.models import HubSource, ModelEntry
from ai_core.cli.models.bar import Bar, progress_bar
from ai_core.cli.models.workplace import Workplace
from ai_core.cli.terminal import complain
from ai_core.errors import InvalidRequest, ModelNotFound

EXIT_FAILED = 1
FORMS = ("gguf", "transformers", "onnx", "peft")


def add_command(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``pull`` and its options."""
    pull = actions.add_parser(
        "pull",
        help="fetch a model from the hub, or go on with it",
        description="Fetches a model of the models file, or a repository of the hub. What was interrupted "
        "goes on where it stopped. Of several quantizations, the largest that fits the memory is taken.",
    )
    pull.add_argument("name", help="a model of the models file, or owner/name at the hub")
    pull.add_argument("--type", choices=FORMS, help="what to take of owner/name [what it offers]")
    pull.add_argument(
        "--file", default="", metavar="PATTERN", help="which file of owner/name, as *q4_k_m.gguf"
    )
    pull.add_argument("--quantization", default="none", metavar="NAME", help="preferred of owner/name")
    pull.add_argument("--revision", default="main", help="of owner/name [%(default)s]")
    pull.add_argument("--url", help="where the running server is, if there is one [as the settings say]")


async def run(place: Workplace, options: argparse.Namespace) -> int:
    """Fetch it. Returns 0, or 1 if it is not there in the end."""
    order = _order(place, options)
    final = await _followed(order)
    if isinstance(final, Failed):
        return complain(final.message, status=EXIT_FAILED)
    print(final.opened)
    await _tell(place, order, final)
    return 0


def _order(place: Workplace, options: argparse.Namespace) -> Order:
    hub = HubSource(options.name, options.file, options.revision)
    given = options.type or options.file or options.quantization != "none" or options.revision != "main"
    if place.known is not None and _known(place, options.name) is not None:
        if given:
            raise InvalidRequest(
                f"'{options.name}' is a model of the models file, which says what to take: leave the "
                "options away, or change it there."
            )
        return order_for(options.name, place.known, place.terms)
    if given or place.known is None:
        return order_of_repository(hub, place.terms, options.type, options.quantization)
    return order_for(options.name, place.known, place.terms)


def _known(place: Workplace, name: str) -> ModelEntry | None:
    try:
        return place.catalog.resolve(name)
    except ModelNotFound:
        return None


async def _followed(order: Order) -> Completed | Failed:
    with progress_bar() as bar:
        async with contextlib.aclosing(Puller().events(order)) as events:
            waiting = ""
            async for event in events:
                if isinstance(event, Completed | Failed):
                    return event
                # Who waits for another process is told so every second.
                if not isinstance(event, Waiting) or event.why != waiting:
                    show(event, bar)
                waiting = event.why if isinstance(event, Waiting) else ""
    raise AssertionError("a pull ended without a word")


def show(event: Event, bar: Bar) -> None:
    """One event that is not the last."""
    match event:
        case Planned():
            bar.say(event.said)
            if event.have and event.have < event.total:
                bar.say(f"{in_words(event.have)} of {in_words(event.total)} are here already.")
        case Moved():
            bar.moved(f"{event.activity} {event.file}", event.done, event.total)
        case Waiting():
            bar.say(f"{event.why}; waiting {event.seconds:.0f} s." if event.seconds else f"{event.why}.")


async def _tell(place: Workplace, order: Order, final: Completed) -> None:
    """What can be done with it now."""
    said = "It was here already." if final.already else f"Fetched and checked: {in_words(final.total)}."
    print(said, file=sys.stderr)
    if final.form == "peft":
        print(f"List it as an adapter of its model: {json.dumps({'path': final.opened})}", file=sys.stderr)
        return
    known = place.known is not None and any(
        str(entry.path) == order.folder and (entry.hub is not None and entry.hub.pattern == order.pattern)
        for entry in place.known.entries
    )
    if not known:
        print(f"To serve it, list it in {place.settings.model_config_path}:", file=sys.stderr)
        print(f"  {_entry(order, final)}", file=sys.stderr)
    elif await place.server.reload():
        print("The running server knows.", file=sys.stderr)


def _entry(order: Order, final: Completed) -> str:
    """A line for the models file."""
    name = order.repository.partition("/")[2].lower()
    path = f"{order.repository}:{order.pattern}" if order.pattern else order.repository
    fields = {"type": final.form, "path": path}
    if order.revision != "main":
        fields["revision"] = order.revision
    if order.quantization != "none":
        fields["quantization"] = order.quantization
    return f"{json.dumps(name)}: {json.dumps(fields)}"
