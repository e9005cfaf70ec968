"""A look through source for what could load a pickle, run a text, or leave HTML unescaped."""

import ast

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tarfile", "yaml"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile"),
    *("torch.load", "torch.save", "os.system", "os.popen", "shutil.unpack_archive"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
}
METHODS = {"extractall", "read_pickle", "to_pickle", "load_from_checkpoint"}
RUNNERS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
NEVER = {"shell", "allow_pickle"}  # arguments that may only be False
TRUST = "trust_remote_code"  # may be False, or what the params say by the name `trusted`


def scan(source):
    """What in a module could load a pickle, run a text, unpack outside of a folder, or leave HTML unescaped."""
    tree = ast.parse(source)
    names = imported(tree)
    found = [name for name in names.values() if name.split(".")[0] in MODULES]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = dotted(call.func, names)
        given = {k.arg: getattr(k.value, "value", k.value) for k in call.keywords}
        found += [f"{name}({key})" for key in NEVER & given.keys() if given[key] is not False]
        found += [f"{name}({k.arg})" for k in call.keywords if k.arg == TRUST and not allowed(k.value)]
        if (
            name in CALLS
            or name.split(".")[-1] in METHODS
            or name.startswith(("os.exec", "os.spawn", "os.posix_spawn"))
        ):
            found.append(name)
        if name in RUNNERS and not (call.args and isinstance(call.args[0], ast.List)):
            found.append(f"{name} without a list")
        if name.endswith("YAML") and given.get("typ", "rt") not in ("rt", "safe"):
            found.append("unsafe YAML")
        if name == "jinja2.Environment" and given.get("autoescape") is not True:
            found.append("HTML without escapes")
        if name == "markupsafe.Markup" and not constant(call.args[0]):
            found.append("Markup of a variable")
    return found


def allowed(value):
    """Whether an argument is False, or a name or attribute `trusted`, which is true only where the params say so."""
    names = getattr(value, "id", None), getattr(value, "attr", None)
    return "trusted" in names or (isinstance(value, ast.Constant) and value.value is False)


def unsafe_models(source):
    """Readers of models that would take a pickle; PEFT's has no such argument and is checked by what it does."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    readers = [
        (dotted(call.func, {}), {k.arg: getattr(k.value, "value", None) for k in call.keywords}) for call in calls
    ]
    return [
        name
        for name, given in readers
        if name.endswith(".from_pretrained")
        and not name.endswith(("Tokenizer.from_pretrained", "PeftModel.from_pretrained"))
        and given.get("use_safetensors") is not True
    ]


def imported(tree):
    """Names of a module and what they stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
            names |= {alias.name.split(".")[0]: alias.name.split(".")[0] for alias in node.names if not alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def dotted(node, names):
    """`a.b.c` of a called expression, its first part as it was imported."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def constant(node):
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())
