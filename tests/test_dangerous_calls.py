"""What must not be in the source: what runs texts, reads objects out of bytes, starts shells, or is a broken hash."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Modules that nothing needs; what is wrong with them: they make objects of bytes, read entities, or use shells.
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "xml", "lxml", "telnetlib", "ftplib"}

#: Functions that run what they are given.
RUNNERS = {"eval", "exec", "compile", "__import__"}

#: Hashes that are broken. What is left of them says `usedforsecurity=False`, or is a checksum of a protocol.
BROKEN = {"md5", "sha1"}

#: file -> what it may have all the same, and why.
ALLOWED = {
    "models/compiling.py": "torch.compile, handed in as `compile`",
    "models/made_again.py": "to a process of ours and not back: how to make a model again, of the developer's own code",
    "models/trial.py": "likewise: which model is tried",
    "models/trial_child.py": "the other end of that",
    "models/weights.py": "names the error of weights that are no tensors; they are loaded as tensors only",
    "serving/storage/unfinished.py": "XML of the store that the operator names; ElementTree resolves no entities",
    "serving/uploads/tus_headers.py": "checksums of the protocol tus, which say whether bytes arrived",
}


def _found(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES and not node.level:
            found.add(str(node.module))
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if isinstance(node.func, ast.Name) and name in RUNNERS:
                found.add(name)
            if name in BROKEN or (name == "system" and ast.unparse(node.func) == "os.system"):
                found.add(name)
            if any(one.arg == "shell" and ast.unparse(one.value) != "False" for one in node.keywords):
                found.add("shell")
        elif isinstance(node, ast.Constant) and node.value in BROKEN:
            found.add(str(node.value))
    return found


def test_nothing_runs_texts_reads_objects_out_of_bytes_or_hashes_badly():
    found = {}
    for package in ("models", "pipeline", "serving"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if bad := _found(file):
                found[str(file.relative_to(ROOT))] = sorted(bad)
    assert set(found) <= set(ALLOWED), {name: bad for name, bad in found.items() if name not in ALLOWED}


def test_it_would_be_seen(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("import pickle\nfrom xml.dom import x\neval('1')\nos.system('x')\nrun('x', shell=True)\nh('md5')\n")
    assert _found(file) == {"pickle", "xml.dom", "eval", "system", "shell", "md5"}
