"""What the documents tell people to type: every command of the README and of the guides, with where it stands.

A block's mark says who runs it: ``sh`` a local system, ``sh aws`` a deployment to the local AWS emulator, ``console`` a
local system with the sample, whose answers are compared. ``sh by-hand`` and commands within sentences and tables are
not run as they stand; `BY_HAND` says why of each, and tests/integration/test_documents.py holds them against what
they call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.data import ROOT

GUIDES = ROOT / "infra" / "guides"
FOLDERS = ("infra/gpu_endpoint", "infra/training_job", "infra/sample", "infra/local/adapters/copywriter")
DOCUMENTS = (
    ROOT / "README.md",
    *sorted(GUIDES.glob("*.md")),
    *(ROOT / folder / "README.md" for folder in FOLDERS),
    ROOT / "tests" / "labelled" / "README.md",
)
KINDS = ("sh", "sh aws", "sh by-hand", "console", "yaml", "json", "python", "mermaid")
PROGRAMS = ("adtailor", "make", "python", "pytest", "torchrun", "aws", "curl", "sam", "uv", "pyenv", "pip")
_BLOCK = re.compile(r"^( *)```([\w-]+(?: [\w-]+)?)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4,}\S.*\n?)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_BEGINS = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)}) \S")
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'.*\n(?:.*\n)*?\1\n")

# Why a command is not run as it stands. A pattern is the beginning of the command; each must still be in a document.
BY_HAND = {
    "make run": "is `python -m infra.run_local`, as tests/integration/test_run_local.py starts it",
    "make run ARGS=": "the same, with options that tests/integration/conftest.py gives",
    "make run LLM=": "needs a model of somebody's own; tests/integration/test_llm_server.py starts one by its file",
    "make test": "runs this test",
    "make build": "the fixture `built` of tests/sam/conftest.py runs `sam build`, which it calls",
    "make bench": "measures for minutes on a quiet machine; not a test",
    "make load": "measures for half a minute on a quiet machine; tests/integration/test_load.py runs a short one",
    "make fuzz": "10,000 requests; tests/integration/test_fuzz.py sends fewer",
    "make scan": "searches the templates for minutes, in continuous integration",
    "make costs": "writes infra/COSTS.md; tests/unit/test_costs.py counts",
    "make help": "prints the Makefile's own comments",
    "make models": "builds what every other test loads",
    "make gate": "needs a trained candidate; `adtailor promote` in the emulator and tests/unit/test_gate.py",
    "make report-understanding": "trains for minutes; tests/unit has the page",
    "adtailor train head": "trains for minutes; tests/integration/test_training_upload.py",
    "python -m infra.emulator": "the fixture `deployed` starts it",
    "python -m infra.sam deploy": "the fixture `deployed` runs it; `--guided` asks, and AWS needs an account",
    "python -m infra.sam local": "tests/sam/test_invoke.py and test_start_api.py run it, in Docker",
    "python -m infra.console_site": "makes a CloudFront distribution; the files alone (--folder) in the emulator",
    "python -m infra.gpu_endpoint": "needs an AWS account and a GPU; tests/unit/test_gpu_endpoint_tools.py",
    "python -m infra.gate": "by `adtailor promote` in the emulator; tests/unit/test_gate.py",
    "python -c": "prints a folded text; tests/unit/test_policy_rules.py",
    "python -m infra.training_job.package": "needs a bucket; tests/unit has it",
    "python -m infra.training.": "trains for minutes to hours; a smaller one in tests/unit and tests/integration",
    "torchrun": "trains for minutes; tests/integration/test_distributed.py",
    "adtailor train ranker": "needs some thousands of decisions; tests/unit/test_ranker_training.py",
    "adtailor promote": "needs a trained candidate; tests/unit/test_cli.py",
    "adtailor evaluate": "needs a data pack and minutes; tests/unit has each task on few rows",
    "python -m infra.evaluate": "needs a data pack and minutes; tests/unit has each task on few rows",
    "python -m infra.reproduce": "hours; tests/unit/test_reproduce.py",
    "python -m infra.load.": "measures for minutes on a quiet machine",
    "python -m infra.ope.simulation": "minutes; tests/unit has it with few repetitions",
    "python -m infra.exposure": "by tenant in the emulator; by files in tests/unit/test_exposure.py",
    "python -m infra.redrive": "by stack in the emulator",
    "python -m infra.recount": "with its keys in the emulator",
    "python -m infra.sample.generate": "rewrites a file of the repository; tests/unit/test_sample_events.py",
    "pytest ": "is a test",
    "LLM_URL=https://HOST/v1 LLM_API_KEY=KEY LLM_MODEL=NAME LLM_ENGINE=openai adtailor evaluate": "needs a large model",
    "LLM_THREADS=2 make bench": "measures for minutes on a quiet machine",
    "LLM_ADAPTER=none make run": "tests/integration/test_copywriter_adapter.py",
    "TENANTS='{…}' make run": "tests/integration/test_isolation.py",
    "adtailor": "within a sentence; the same command stands in a block that is run, or its help is asked",
    "aws": "needs an AWS account",
    "sam local": "tests/sam, in Docker",
    "pyenv install": "not ours",
    "uv python install": "not ours",
    "pip": "not ours",
}


@dataclass(frozen=True, slots=True)
class Command:
    """A line that somebody may type. kind: of its block; ``indented`` or ``inline`` outside of one."""

    document: str
    kind: str
    text: str


def blocks(path: Path, kind: str) -> list[str]:
    """The document's blocks of one kind, in their order, without the indent of a list."""
    return [
        "\n".join(line.removeprefix(indent) for line in body.splitlines()) + "\n"
        for indent, name, body in _BLOCK.findall(path.read_text("utf-8"))
        if name == kind
    ]


def commands(path: Path) -> Iterator[Command]:
    """Every command of a document."""
    text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
    for kind in KINDS:
        for body in blocks(path, kind):
            if kind.startswith("sh"):
                lines = _HERE_DOCUMENT.sub("\n", body).splitlines()
            elif kind == "console":
                lines = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
            else:
                lines = []
            yield from (Command(name, kind, line.strip()) for line in lines if line.strip())
    rest = _BLOCK.sub("", text)
    for block in _INDENTED.findall(rest):
        for line in block.replace("\\\n", " ").splitlines():
            if _BEGINS.match(line.strip().removeprefix("$ ")):
                yield Command(name, "indented", " ".join(line.split()).removeprefix("$ ").replace(".venv/bin/", ""))
    for inline in _INLINE.findall(_INDENTED.sub("", rest)):
        if _BEGINS.match(inline):
            yield Command(name, "inline", inline.replace(".venv/bin/", ""))


def reason(command: Command) -> str | None:
    """The pattern of `BY_HAND` that a command falls under: the longest."""
    fitting = [one for one in BY_HAND if command.text.removeprefix("export ").startswith(one)]
    return max(fitting, key=len, default=None)
