import io

import pytest

from workspace_setup.progress import CompileProgress, clock_text, ninja_step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("[12/83] /usr/bin/g++ -DGGML_BUILD -o x.o", (12, 83)),
        ("  [83/83] : && /usr/bin/g++ -shared", (83, 83)),
        ("  -- Installing: /tmp/[1/2] x", None),
        ("[84/83] more than there is", None),
        ("[0/0] nothing", None),
        ("", None),
    ],
)
def test_ninja_lines(line: str, step: tuple[int, int] | None) -> None:
    assert ninja_step(line) == step


def test_on_a_terminal_one_line_is_drawn_again_and_again() -> None:
    clock, terminal = Clock(), Terminal()
    progress = CompileProgress("llama.cpp", terminal, clock)
    clock.now += 65
    progress.line("[41/82] g++")
    assert terminal.getvalue().split("\r\033[K")[-1] == f"llama.cpp  [{'#' * 15}{'.' * 15}]   50%  1:05"
    progress.close()
    assert "\n" not in terminal.getvalue()


def test_elsewhere_a_line_is_printed_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = CompileProgress("llama.cpp", stream, clock)
    for second in range(25):
        clock.now = 100 + second
        progress.line(f"[{second + 1}/50] g++")
    progress.close()
    assert stream.getvalue() == "llama.cpp   22%  0:10\nllama.cpp   42%  0:20\n"


def test_clock_text() -> None:
    assert [clock_text(seconds) for seconds in (0, 59.9, 60, 3725)] == ["0:00", "0:59", "1:00", "62:05"]
