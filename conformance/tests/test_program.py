"""What becomes of programs that speak the line protocol, or fail to: a verdict on the case, and a new program."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import pytest
from arrconv_conformance import Case, Unavailable, Verdict, scratch
from arrconv_conformance.program import Program
from arrconv_conformance.sessions import Child
from engines import AMPLE, CONV, HELLO, SHAPE, SHORT, TRANSPOSED, command, conform, faulty, looping, starting, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engines import Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts engines, and ends them after the test."""
    with starting(tmp_path) as start:
        yield start


RIGHT = f"save(request, 'x.npy', {SHAPE}, struct.pack('<10f', *[3.0] * 10))"
FAULTS = {
    "signal": ("print('no stack', file=sys.stderr); os.kill(os.getpid(), signal.SIGSEGV)", "crashes"),
    "status": ("print('a\\nlast words\\n', file=sys.stderr); sys.exit(3)", "crashes"),
    "end": ("sys.exit(0)", "crashes"),
    "closed": ("os.close(1); time.sleep(60)", "crashes"),
    "silence": ("time.sleep(60)", "hangs"),
    "half a line": ("sys.stdout.write('done resu'); sys.stdout.flush(); time.sleep(60)", "hangs"),
    "words": ("say('Loading kernels')", "deviates"),
    "empty": ("say('')", "deviates"),
    "not text": ("os.write(1, b'\\xff\\xfe\\n')", "deviates"),
    "endless": ("os.write(1, b'x' * 2_000_000); time.sleep(60)", "deviates"),
    "no result": (f"{RIGHT}; say('done')", "deviates"),
    "no key": (f"{RIGHT}; say('done result')", "deviates"),
    "twice": (f"{RIGHT}; say('done result=x.npy result=x.npy')", "deviates"),
    "two lines": (f"{RIGHT}; say('done result=x.npy\\nand so on')", "deviates"),
    "missing": ("say('done result=x.npy')", "deviates"),
    "elsewhere": (f"{RIGHT}; say('done result=../x.npy')", "deviates"),
    "folder": (f"{RIGHT}; say('done result=.')", "deviates"),
    "cut off": (f"save(request, 'x.npy', {SHAPE}, bytes(39)); say('done result=x.npy')", "deviates"),
    "text": ("open(request['folder'] + '/x.npy', 'w').write('1 2 3'); say('done result=x.npy')", "deviates"),
    "objects": (f"save(request, 'x.npy', {SHAPE}, bytes(99), '|O'); say('done result=x.npy')", "deviates"),
    "shape": ("save(request, 'x.npy', (2, 5), bytes(40)); say('done result=x.npy')", "deviates"),
    "dtype": (f"save(request, 'x.npy', {SHAPE}, bytes(80), '<f8'); say('done result=x.npy')", "deviates"),
    "value": (f"save(request, 'x.npy', {SHAPE}, bytes(40)); say('done result=x.npy')", "deviates"),
    "error": ("say('error no kernel = for 1-D')", "refuses"),
}
MESSAGES = {
    "signal": "the program ended of signal SIGSEGV: no stack",
    "status": "the program ended with status 3: last words",
    "end": "the program ended with status 0",
    "closed": "the program closed its output and did not end",
    "silence": "no answer from the program after 1 s",
    "half a line": "no answer from the program after 1 s",
    "words": "no answer to a call: it says 'Loading kernels', which is none of done, unsupported and error",
    "empty": "no answer to a call: it says '', which is none of done, unsupported and error",
    "not text": "no answer to a call: it says '\ufffd\ufffd', which is none of done, unsupported and error",
    "endless": f"no answer to a call: it says '{'x' * 77}…', which is none of done, unsupported and error",
    "no result": "no answer to a call: it says 'done', which lacks result=",
    "no key": "no answer to a call: 'result' is no key=value, or is given twice",
    "twice": "no answer to a call: 'result=x.npy' is no key=value, or is given twice",
    "two lines": "the program said 'and so on\\n' after its answer",
    "missing": "no answer to a call: there is no file 'x.npy' in the folder of the call",
    "elsewhere": "no answer to a call: '../x.npy' is no name of a file in the folder of the call",
    "folder": "no answer to a call: '.' is no .npy file of an array: [Errno 21] Is a directory: ",
    "cut off": "no answer to a call: 'x.npy' is no .npy file of an array: ",
    "text": "no answer to a call: 'x.npy' is no .npy file of an array: ",
    "objects": "no answer to a call: 'x.npy' is no .npy file of an array: Object arrays cannot be loaded",
    "shape": "the result has shape (2, 5), not (2, 1, 5)",
    "dtype": "the result has dtype float64, not float32",
    "value": "10 of 10 elements are wrong; (0, 0, ",
    "error": "Refused: no kernel = for 1-D",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_verdict_and_the_next_case_its_own(fault: str, start: Start) -> None:
    text, outcome = FAULTS[fault]
    engine = start(faulty(text), limit=SHORT if outcome == "hangs" else AMPLE)
    found = verdict(engine, TRANSPOSED)
    assert found.outcome == outcome
    assert found.message.startswith(MESSAGES[fault])
    assert found.kind == {"value": "exact"}.get(fault, "form" if outcome == "deviates" else "")
    assert verdict(engine, CONV) == Verdict("unsupported", "but alive")


def test_a_line_too_many_is_found_at_the_latest_by_the_next_call(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "late")
    chatty = start(
        looping("say('unsupported yet')\nif n == 0: say('noise'); open(sys.argv[1], 'w').close()"),
        str(tmp_path / "late"),
    )
    assert verdict(chatty, CONV) == Verdict("unsupported", "yet")
    with (tmp_path / "late").open():  # waits until the noise is there
        found = verdict(chatty, CONV)
    assert found == Verdict("deviates", "the program said 'noise\\n' before it was asked", "form")
    assert verdict(chatty, CONV).outcome == "unsupported"


def test_a_program_that_dies_in_a_call_before_the_one_that_counts_has_crashed(start: Start, tmp_path: Path) -> None:
    text = (
        "if not os.path.exists(sys.argv[1]): open(sys.argv[1], 'w').close(); sys.exit(5)\nsay('unsupported but alive')"
    )
    dies = start(looping(text), str(tmp_path / "died"))
    before = Case.parse(f"{CONV} before=data")
    assert verdict(dies, before) == Verdict("crashes", "the program ended with status 5")
    assert verdict(dies, before) == Verdict("unsupported", "but alive")


def test_a_program_that_cannot_be_started_again_has_crashed(start: Start, tmp_path: Path) -> None:
    once = f"\nif os.path.exists(sys.argv[1]): sys.exit(6)\nopen(sys.argv[1], 'w').close()\n{looping('sys.exit(7)')}"
    engine = start(once, str(tmp_path / "started"))
    assert verdict(engine, CONV) == Verdict("crashes", "the program ended with status 7")
    assert verdict(engine, CONV) == Verdict("crashes", "the program ended with status 6")


BAD_STARTS = {
    "print('Loading kernels')" + HELLO: "the program cannot be used: it says 'Loading kernels' in place of hello",
    "print()" + HELLO: "the program cannot be used: it says '' in place of hello",
    "ask(); say('hello protocol=2 name=a')": "it speaks version 2 of the line protocol, and this suite speaks 1",
    "ask(); say('hello name=a')": "it speaks version None of the line protocol, and this suite speaks 1",
    "ask(); say('hello protocol=1')": "its name= must be of letters, digits and ._+-, but is ''",
    "ask(); say('hello protocol=1 name=../a')": "its name= must be of letters, digits and ._+-, but is '../a'",
    "ask(); say('hello protocol=1 name=a claim.float31=input:tf32')": "claim.float31= is of no dtype; the dtypes are ",
    "ask(); say('hello protocol=1 name=a claim.float32=input:tf31')": "'tf31' is no known format",
    "ask(); say('hello protocol=1 name=a claim.float32=speed:high')": "a: claims['float32'] = {'speed': 'high'",
    "ask(); say('hello protocol=1 name=a claim.float32=tf32')": "a: claims['float32'] = 'tf32'",
    "ask(); say('hello protocol=1 name=a claim.int8=int8')": "claims['int8'] must be 'int64' or 'wraps', but is 'int8'",
    "ask(); say('hello protocol=1 name=a claim.float32=flushes_subnormals:1')": "is true or false, but is '1'",
    "sys.exit('no device')": "the program ended with status 1: no device",
}


@pytest.mark.parametrize("text", BAD_STARTS)
def test_a_bad_start_is_told_in_one_line(text: str, start: Start, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as reason:
        start(text)
    assert str(reason.value).startswith(f"exec:{command(tmp_path, text)}: ")
    assert BAD_STARTS[text] in str(reason.value)
    assert len(str(reason.value).splitlines()) == 1


def test_a_program_that_says_no_hello_is_not_waited_for(start: Start) -> None:
    with pytest.raises(Unavailable, match=r"no answer from the program after 0\.5 s$"):
        start("ask()\ntime.sleep(60)", limit=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "./no-such-engine",
            "exec:./no-such-engine: the program cannot be started: [Errno 2] No such file or directory",
        ),
        (" ", "exec: : the program cannot be started: the command is empty"),
        ("'half", "exec:'half: the program cannot be started: No closing quotation"),
        ("false :cat:", "exec:false :cat:: the program ended with status 1"),
    ],
)
def test_a_command_that_starts_nothing_ends_with_status_two_and_one_line(words: str, message: str) -> None:
    status, output = conform("--exec", words, "--case", str(CONV))
    assert status == 2
    assert output.startswith(f"conform: {message}")
    assert len(output.splitlines()) == 1


def test_a_bad_hello_ends_with_status_two_under_any_spelling(tmp_path: Path) -> None:
    words = command(tmp_path, "say('noise')" + HELLO)
    line = f"conform: exec:{words}: the program cannot be used: it says 'noise' in place of hello\n"
    assert conform("--adapter", f"exec:{words}", "--case", str(CONV)) == (2, line)


# Processes: none may be left.


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Any]:
    """Whether any process is there that opened the pipe, asked once it is expected to be gone."""
    os.mkfifo(tmp_path / "alive")
    descriptor = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def someone() -> bool:
        """Reads until all writers are gone, which takes as long as the system takes to end a process."""
        while select.select([descriptor], [], [], 5)[0]:
            if not os.read(descriptor, 1):
                return False
        return True

    yield someone
    os.close(descriptor)


# Holds a pipe open, and ends for nothing but SIGKILL.
STUBBORN = """
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
pipe = open(sys.argv[1], "wb", buffering=0)
pipe.write(b".")
ask()
say("hello protocol=1 name=stubborn")
while True:
    line = sys.stdin.readline()
    if "conv_transpose" in line or not line:
        time.sleep(600)
    say("unsupported", os.getpid())
"""


def test_no_program_outlives_who_speaks_to_it(start: Start, alive: Any, tmp_path: Path) -> None:
    engine = start(STUBBORN, str(tmp_path / "alive"))
    assert verdict(engine, CONV).outcome == "unsupported"
    engine.close()
    assert not alive()


def test_a_program_that_nobody_refers_to_ends(alive: Any, tmp_path: Path) -> None:
    one = Program.of(command(tmp_path, STUBBORN, str(tmp_path / "alive")), AMPLE)
    assert verdict(one, CONV).outcome == "unsupported"
    del one
    assert not alive()


def test_no_program_outlives_the_process_in_which_it_is_asked(alive: Any, tmp_path: Path) -> None:
    words = command(tmp_path, STUBBORN, str(tmp_path / "alive"))
    child = Child(f"exec:{words}", limit=1.5 * SHORT)
    child.start()
    assert (child.name, child.version) == ("stubborn", "unknown")
    first = child.ask(CONV)
    assert first.outcome == "unsupported"
    # Its limit is that of a call, which ends before that of the case.
    assert child.ask(TRANSPOSED) == Verdict("hangs", "no answer from the program after 1.2 s")
    assert not alive()
    second = child.ask(CONV)
    assert (second.outcome, second.message != first.message) == ("unsupported", True)
    child.close()
    assert not alive()


def test_no_program_outlives_the_process_that_started_it_when_that_is_killed(alive: Any, tmp_path: Path) -> None:
    text = STUBBORN.replace("time.sleep(600)", "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)")
    child = Child(f"exec:{command(tmp_path, text, str(tmp_path / 'alive'))}", limit=AMPLE)
    assert child.ask(TRANSPOSED) == Verdict("crashes", "the process ended of signal SIGKILL")
    assert not alive()
    child.close()
    scratch.Scratch().close()  # which sweeps up
