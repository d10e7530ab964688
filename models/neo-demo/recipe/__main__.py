"""The steps of the recipe; ``make demo-model`` takes them all. Without a step: tokenizer to evaluate.

Artefacts live in var/demo-model, so an interrupted training goes on where its last checkpoint stands.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from recipe import checkpoint, corpus, evaluate, places, tokenizer
from recipe.accuracy import right_answers
from recipe.conversations import Encoder
from recipe.export import write_gguf
from recipe.export_adapter import write_adapter_gguf, write_peft
from recipe.greedy import Greedy
from recipe.letters import as_letters
from recipe.train import Places, Plan, Training
from recipe.train_adapter import AdapterPlan, report
from recipe.train_adapter import train as train_adapter


def cut() -> None:
    """Train the tokenizer, unless there is one: it must not change under a checkpoint."""
    fingerprint = corpus.fingerprint(places.CORPUS)
    if not places.TOKENIZER.exists():
        places.ARTEFACTS.mkdir(parents=True, exist_ok=True)
        places.FINGERPRINT.write_text(fingerprint)
        tokenizer.train(corpus.load(places.CORPUS).texts()).save(str(places.TOKENIZER))
    elif places.FINGERPRINT.read_text() != fingerprint:
        sys.exit(
            f"The corpus has changed since this training began: remove {places.ARTEFACTS} to begin anew."
        )


def train() -> None:
    """Train the network, or go on with it."""
    kept = Places(places.TOKENIZER, places.CHECKPOINT, places.CURVE)
    training = Training(corpus.load(places.CORPUS), kept, Plan())
    try:
        training.run()
    except KeyboardInterrupt:
        sys.exit("Interrupted: the same command goes on from the last checkpoint.")


def export() -> None:
    """Write neo-demo.gguf from the checkpoint."""
    write_gguf(
        checkpoint.load_model(places.CHECKPOINT),
        tokenizer.load(places.TOKENIZER),
        places.CHAT_TEMPLATE.read_text(encoding="utf-8"),
        places.PRODUCT,
    )
    print(f"{places.PRODUCT}: {places.PRODUCT.stat().st_size / 1e6:.1f} MB")


def adapter() -> None:
    """Train the LoRA adapter that answers by formal letters, on top of neo-demo.gguf, and write it."""
    plan = AdapterPlan()
    letters = as_letters(corpus.load(places.CORPUS))
    model = train_adapter(letters, places.PRODUCT, plan)
    write_peft(model, plan.rank, places.ADAPTER_FOLDER)
    write_adapter_gguf(model, plan.rank, places.ADAPTER_GGUF)
    for file in (places.ADAPTER_FOLDER / "adapter_model.safetensors", places.ADAPTER_GGUF):
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB", flush=True)
    report(model, places.PRODUCT, letters)


def ask_gguf(arguments: argparse.Namespace) -> None:
    """Ask neo-demo.gguf every question, through llama.cpp."""
    # Only this step needs llama.cpp; a checkpoint can be trained and looked at without it.
    from recipe.llama import LlamaCpp

    ask = LlamaCpp(arguments.gguf, places.ADAPTER_GGUF if arguments.letters else None)
    known = corpus.load(places.CORPUS)
    if arguments.letters:
        known = as_letters(known)
    results = {}
    for kind in evaluate.KINDS:
        asked = evaluate.sample(evaluate.examinations(known, kind, arguments.system), arguments.every)
        results[kind] = evaluate.score(ask, asked)
    print(evaluate.table(results))
    if arguments.show_wrong:
        for examination, said in results["held_out"].wrong:
            print(f"\n{examination.pair}: {examination.messages[-1]['content']}\n  {said}")


def look() -> None:
    """Score the checkpoint, in seconds."""
    encoder = Encoder(tokenizer.load(places.TOKENIZER))
    model = checkpoint.load_model(places.CHECKPOINT)
    known = corpus.load(places.CORPUS)
    for kind in evaluate.KINDS:
        asked = evaluate.examinations(known, kind)
        right = right_answers(model, encoder, asked)
        print(f"{kind}: {evaluate.cell(right.total(), len(asked))}")


def chat(question: str) -> None:
    """Ask the checkpoint one question."""
    encoder = Encoder(tokenizer.load(places.TOKENIZER))
    answer = Greedy(checkpoint.load_model(places.CHECKPOINT), encoder)
    print(answer([{"role": "user", "content": question}]))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recipe", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the training")
    steps = parser.add_subparsers(dest="step")
    for step in (cut, train, export, look, adapter):
        steps.add_parser(step.__name__, help=step.__doc__)
    examination = steps.add_parser("evaluate", help=ask_gguf.__doc__)
    examination.add_argument("--gguf", type=Path, default=places.PRODUCT)
    examination.add_argument("--system", default="", help="another system prompt than the default")
    examination.add_argument("--no-system", dest="system", action="store_const", const=None)
    examination.add_argument("--every", type=int, default=1, help="ask one question in so many")
    examination.add_argument("--letters", action="store_true", help="with the adapter, expecting letters")
    examination.add_argument("--show-wrong", action="store_true", help="print the wrong held-out answers")
    steps.add_parser("ask", help=chat.__doc__).add_argument("question")
    return parser


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    match arguments.step:
        case None:
            cut()
            train()
            export()
            ask_gguf(parser().parse_args(["evaluate"]))
        case "evaluate":
            ask_gguf(arguments)
        case "ask":
            chat(arguments.question)
        case step:
            {"cut": cut, "train": train, "export": export, "look": look, "adapter": adapter}[step]()


if __name__ == "__main__":
    main()
