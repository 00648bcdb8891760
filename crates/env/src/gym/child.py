"""Plays one environment of Gymnasium, or one task of dm_control's suite, for the process that started this one.

The code for dm_control is in `suite.py`, whose text is put before this one. The standard input of this process is the
socket on which requests and answers are sent; `protocol.rs` is its other end. Every request gets one answer. A frame is
the length of its body (u32), one byte for its kind, and the body; all little-endian.

Requests: M make (JSON), R reset, S step (the action, f32 [A]).
Answers: 0 success (the bytes that make, reset and step below return), 1 failure (JSON: kind, text, detail).
"""

import ctypes
import json
import os
import platform
import re
import select
import signal
import socket
import struct
import sys
import time
import traceback
import types

PROTOCOL = 1
HEADER = struct.Struct("<IB")
# Reward, flags, number of info scalars, length of the JSON text of their names (0: the names are those of the last
# answer).
FIXED = struct.Struct("<dBHI")
TERMINATED, TRUNCATED, PCG64, MT19937 = 1, 2, 4, 8
LOW_WORD = 2**64 - 1
# Number of words of a PCG64 and of an MT19937. In a request, the number of words tells the kind of generator.
PCG64_WORDS, MT19937_WORDS = 6, 315
# Time for which a request is polled before this process sleeps, in seconds.
POLL_TIME = 200e-6
# Largest number of info scalars in one answer, and of characters and of lines in an error.
MAX_SCALARS, MAX_TEXT, MAX_TRACEBACK_LINES = 256, 2000, 12
# numpy's kinds of types that are numbers: bool, int, unsigned, float.
NUMERIC_KINDS = "biuf"
# Largest time limit that an answer holds.
MAX_LIMIT = 2**32 - 1
# Packages whose versions an environment depends on most often.
VERSIONED = ("gymnasium", "mujoco", "numpy")
# The changes that turn the parts of the interface of gym before 0.26 into Gymnasium's.
STEP_CHANGE = (
    "return `observation, reward, terminated, truncated, info` from `step`: `terminated` is the end by the task itself, "
    "`truncated` the end by a time limit"
)
RESET_CHANGE = "return `observation, info` from `reset`, where `info` is a dict"
SEED_CHANGE = (
    "define `reset(self, *, seed=None, options=None)`, begin it with `super().reset(seed=seed)`, and draw all random "
    "numbers from `self.np_random`"
)
WRAPPER_CHANGE = (
    "let the wrapper take five values from `step`: observation, reward, terminated, truncated, info; and return five"
)
CLASS_CHANGE = "import `gymnasium` instead of `gym`, and derive the environment from `gymnasium.Env`"


class Refused(Exception):
    """A failure other than the environment's own exception: its kind, the text for the user, and a detail for some."""


def main():
    # Prints go to the pipe of the last output, and reads from the standard input find nothing, so that neither disturbs
    # a frame.
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    die_with_parent()
    # Terminals and schedulers send signals to whole jobs. On a signal the run finishes its slice and then ends this
    # process by closing the socket. A handler is used because an ignored signal would also be ignored in programs that
    # the environment starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, "")

    source = channel.makefile("rb")
    player = Player()
    calls = {b"M": player.make, b"R": player.reset, b"S": player.step}
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    while len(head := next_header(poller, source)) == HEADER.size:
        length, kind = HEADER.unpack(head)
        body = source.read(length)
        try:
            answer, status = calls[bytes([kind])](body), 0
        except BaseException as error:
            answer, status = packed(failure_of(error, player.env)), 1
        try:
            channel.sendall(HEADER.pack(len(answer), status) + answer)
        except OSError:
            break
    if player.env is not None:
        player.env.close()


def next_header(poller, source):
    """Polls for a request before sleeping, because waking a process can take longer than many steps do."""
    until = time.perf_counter() + POLL_TIME
    while not poller.poll(0) and time.perf_counter() < until:
        pass
    return source.read(HEADER.size)


def die_with_parent():
    """Ends this process with its parent. A killed parent closes the socket, but a hanging environment ignores that."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def keep_mujoco_quiet(gymnasium, name):
    """Prints MuJoCo's warnings, which MuJoCo would otherwise write to MUJOCO_LOG.TXT in the working directory."""
    try:
        # Imports the module that `make` will import. A failure here also happens there, and is reported there.
        gymnasium.envs.registration.load_env_creator(gymnasium.spec(name).entry_point)
        sys.modules["mujoco"].set_mju_user_warning(lambda text: print(text, file=sys.stderr))
    except Exception:
        pass


def packed(value):
    """Returns JSON. Half of a surrogate pair in a string has no UTF-8 form and is replaced by a `?`."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def missing_module(error, name):
    """Returns the module that an import did not find, unless it is the module in the environment's id."""
    while error is not None and not (isinstance(error, ModuleNotFoundError) and error.name):
        error = error.__cause__
    module = name.rpartition(":")[0]
    return None if error is None or f"{module}.".startswith(f"{error.name}.") else error.name


def last_frame(error):
    """Returns the frame in which an exception was raised, and the frames that led there."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1], frames


def layers(env):
    """Returns an environment and those that it wraps."""
    found = []
    while isinstance(getattr(type(env), "reset", None), types.FunctionType) and all(env is not one for one in found):
        found.append(env)
        env = getattr(env, "__dict__", {}).get("env")
    return found


def older_interface(error, env):
    """Returns the part of gym's interface before 0.26 that an exception shows, and the change; None for others.

    Gymnasium's wrappers unpack what `step` returns and pass `seed` to `reset`, so the exception may come from one of
    them.
    """
    (frame, frames), text = last_frame(error), str(error)
    function = frame.f_code.co_name
    if isinstance(error, TypeError):
        if "gymnasium.Env" in text:
            made = [frame.f_locals["env"] for frame in frames if "env" in frame.f_locals]
            modules = {base.__module__.partition(".")[0] for env in made for base in type(env).__mro__}
            if "gym" in modules:
                return "its class derives from `gym.Env`", CLASS_CHANGE
        unexpected = re.fullmatch(r"(.*)\(\) got an unexpected keyword argument '(seed|options)'.*", text)
        if unexpected and unexpected[1] in {type(layer).reset.__qualname__ for layer in layers(env)}:
            return f"its `reset` takes no `{unexpected[2]}`", SEED_CHANGE
    if isinstance(error, ValueError) and function == "step":
        if re.fullmatch(r"not enough values to unpack \(expected 5, got 4\)", text):
            return "its `step` returned 4 values, not 5", STEP_CHANGE
        if re.match(r"too many values to unpack \(expected 4\b", text):
            return "a wrapper of it takes 4 values from `step`, which returns 5", WRAPPER_CHANGE
    return None


def installed_package(path):
    """Returns the package that pip has installed and that contains a file; None for other files."""
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = path.replace(os.sep, "/").rpartition(f"/{folder}/")
        if found:
            return rest.partition("/")[0].removesuffix(".py")
    return None


def failed_package(error):
    """Returns the installed package in which an exception arose, and the versions that it runs with.

    Returns None if code that pip has not installed, such as an environment of the user, is among the callers, or if no
    other package than those of `VERSIONED` is.
    """
    standard = os.path.dirname(os.__file__)
    files = [frame.f_code.co_filename for frame in last_frame(error)[1]]
    # The frames in `<string>` are those of this text.
    files = [file for file in files if not file.startswith("<")]
    packages = [installed_package(file) for file in files]
    if any(package is None and not file.startswith(standard) for file, package in zip(files, packages)):
        return None
    package = next((name for name in reversed(packages) if name is not None and name not in VERSIONED), None)
    if package is None:
        return None
    version = version_of(package)
    shown = f"`{package}`" if version == "unknown" else f"`{package}` {version}"
    others = ", ".join(f"{name} {version_of(name)}" for name in VERSIONED if name in sys.modules)
    return f"{shown} with {others}"


def failure_of(error, env):
    if not isinstance(error, Refused) and (older := older_interface(error, env)) is not None:
        error = Refused("older", *older)
    if isinstance(error, Refused):
        kind, text, *detail = error.args
        return {"kind": kind, "text": text[:MAX_TEXT], "detail": "".join(detail)}
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip().split("\n")
    last = "".join(traceback.format_exception_only(type(error), error)).strip()
    detail, package = "\n".join(lines[-MAX_TRACEBACK_LINES:]), failed_package(error) or ""
    return {"kind": "raised", "text": last[:MAX_TEXT], "detail": detail, "package": package}


def step_limit(env, wrapper, time_limit):
    """Returns the least limit of the `TimeLimit` wrappers around the environment; that of `env.spec` may differ."""
    limits = []
    while isinstance(env, wrapper):
        if isinstance(env, time_limit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)


def checked_limit(limit):
    if limit is not None and limit > MAX_LIMIT:
        hint = "lower `env.gym.kwargs.max_episode_steps`; -1 removes Gymnasium's time limit"
        raise Refused("space", f"its time limit is {limit} steps, more than {MAX_LIMIT}\nhint: {hint}")
    return limit


def generator_words(np, generator):
    """Returns the flag of the generator's kind, and its words; no flag and no words for other generators.

    Words of a PCG64: state and increment, high word first, whether half a word is left over, and that half word. Words
    of a `RandomState` with an MT19937: its key, two numbers per word, its position, whether a Gaussian number is left
    over, and that number.
    """
    if isinstance(generator, np.random.RandomState):
        state = generator.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            return 0, b""
        key, position = state["state"]["key"], state["state"]["pos"]
        return MT19937, key.astype("<u4").tobytes() + struct.pack("<QQd", position, state["has_gauss"], state["gauss"])
    state = getattr(getattr(generator, "bit_generator", None), "state", {})
    if state.get("bit_generator") != "PCG64":
        return 0, b""
    wide = [state["state"][name] for name in ("state", "inc")]
    words = [word for x in wide for word in (x >> 64, x & LOW_WORD)]
    return PCG64, struct.pack("<6Q", *words, state["has_uint32"], state["uinteger"])


def set_generator(np, generator, words):
    """Sets the state in place, because the environment may have other references to the generator."""
    if len(words) == 8 * MT19937_WORDS:
        key, rest = words[:-24], struct.unpack("<QQd", words[-24:])
        generator.set_state(("MT19937", np.frombuffer(key, "<u4"), *rest))
        return
    high, low, inc_high, inc_low, has_uint32, uinteger = struct.unpack(f"<{PCG64_WORDS}Q", words)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


def checked_box(space, box, what):
    if not isinstance(space, box):
        hint = (
            "choose continuous actions by an argument, if it has one (`env.gym.kwargs`), or wrap it so that its action "
            "space is a Box"
        )
        if what == "observation":
            hint = (
                "wrap it so that its observation is a Box, for example in `gymnasium.wrappers.FlattenObservation`; a Dict "
                "or Tuple of Boxes is flattened automatically"
            )
        raise Refused("space", f"its {what} space is {str(space)[:200]}, which is not a Box\nhint: {hint}")
    if what == "action" and space.dtype.kind != "f":
        hint = "wrap it so that its action space is a Box of continuous actions, with a float type"
        raise Refused("space", f"its actions are integers: {str(space)[:200]}\nhint: {hint}")
    return checked_bounds(space, what)


def checked_bounds(space, what):
    if space.low.size == 0 or not (space.low <= space.high).all():
        hint = "a Box needs at least one entry, and low <= high in every entry"
        raise Refused("space", f"its {what} space, {str(space)[:200]}, is not valid\nhint: {hint}")
    return space


def flattened(gymnasium, env):
    """Turns a Dict or Tuple of Boxes into one Box: their entries one after the other, in Gymnasium's order."""
    spaces = gymnasium.spaces

    def parts(space):
        if isinstance(space, spaces.Dict):
            space = spaces.Tuple(space.values())
        return [leaf for part in space for leaf in parts(part)] if isinstance(space, spaces.Tuple) else [space]

    class CheckedReset(gymnasium.Wrapper):
        """Refuses the result of a reset that `FlattenObservation` would misread: an observation without info."""

        def reset(self, **kwargs):
            return checked_parts(self.env.reset(**kwargs), 2, "reset")

    nested = isinstance(env.observation_space, (spaces.Dict, spaces.Tuple))
    if nested and all(isinstance(leaf, spaces.Box) for leaf in parts(env.observation_space)):
        return gymnasium.wrappers.FlattenObservation(CheckedReset(env))
    return env


def known_task(env):
    """Returns the id of an environment of Gymnasium itself, with its version; None for other environments."""
    spec = env.spec
    own = spec is not None and str(spec.entry_point).startswith("gymnasium.envs.")
    return spec.id if own else None


def registered_with_gym(name):
    """Whether the module in the id has registered the environment with gym, Gymnasium's predecessor."""
    try:
        return name.rpartition(":")[2] in sys.modules["gym"].envs.registration.registry
    except Exception:
        return False


def checked_parts(result, number, call):
    """Checks the number of values that a `step` or a `reset` returned, and that the last of them is a dict."""
    if not isinstance(result, tuple) or len(result) != number:
        found = f"{len(result)} values" if isinstance(result, tuple) else f"one {type(result).__name__}"
        if call == "step" and isinstance(result, tuple) and len(result) == 4:
            raise Refused("older", "its `step` returned 4 values, not 5", STEP_CHANGE)
        if call == "reset" and not isinstance(result, tuple):
            raise Refused("older", f"its `reset` returned {found}, not an observation and a dict", RESET_CHANGE)
        raise Refused("interface", f"its `{call}` returned {found}, but must return {number}")
    if not isinstance(result[-1], dict):
        found = type(result[-1]).__name__
        raise Refused("interface", f"its `{call}` returned info of type {found}, but must return a dict")
    return result


class Player:
    """The environment, after it was made, and the data that its answers need."""

    def __init__(self):
        self.env = None
        self.names = []

    def make(self, body):
        """Returns JSON (protocol, limit, versions, dimensions) after its length (u32); the ends of both boxes, f64."""
        request = json.loads(body)
        make = {"gymnasium": self.make_with_gymnasium, "dm_control": self.make_suite_task}[request["from"]]
        self.task = None
        limit, packages = make(request["name"], request["kwargs"])
        observations, actions = self.observation_space, self.action_space
        self.obs_shape = observations.shape
        versions = {"python": platform.python_version()} | packages
        for module in (sys.modules.get("numpy"), sys.modules.get("mujoco")):
            if module is not None:
                versions[module.__name__] = getattr(module, "__version__", "unknown")
        hello = {
            "protocol": PROTOCOL,
            "limit": checked_limit(limit),
            "task": self.task,
            "versions": versions,
            "obs_dim": int(self.np.prod(observations.shape)),
            "action_dim": int(self.np.prod(actions.shape)),
        }
        text = packed(hello)
        ends = [observations.low, observations.high, actions.low, actions.high]
        return struct.pack("<I", len(text)) + text + b"".join(end.astype("<f8").tobytes() for end in ends)

    def make_with_gymnasium(self, name, kwargs):
        """Makes an environment of Gymnasium; returns the step limit and versions."""
        try:
            import gymnasium
            import numpy
        except ImportError as error:
            raise Refused("gymnasium", f"{type(error).__name__}: {error}") from None
        self.use_numpy(numpy)
        keep_mujoco_quiet(gymnasium, name)
        try:
            env = gymnasium.make(name, disable_env_checker=True, **kwargs)
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            text = f"{type(error).__name__}: {error}"
            if (module := missing_module(error, name)) is not None:
                if module.partition(".")[0] == "gym":
                    raise Refused("older", f"it imports `gym` ({text})", CLASS_CHANGE) from None
                raise Refused("module", text, module) from None
            if registered_with_gym(name):
                raise Refused("older", "its module registers it with `gym`", CLASS_CHANGE) from None
            raise Refused("make", text) from None
        self.task = known_task(env)
        self.env = flattened(gymnasium, env)

        box = gymnasium.spaces.Box
        self.action_space = checked_box(self.env.action_space, box, "action")
        self.observation_space = checked_box(self.env.observation_space, box, "observation")
        limit = step_limit(self.env, gymnasium.Wrapper, gymnasium.wrappers.TimeLimit)
        return limit, {"gymnasium": gymnasium.__version__}

    def make_suite_task(self, name, kwargs):
        """Makes a task of dm_control's suite; returns the step limit and versions."""
        suite, numpy = import_suite()
        self.use_numpy(numpy)
        self.env = SuiteTask(numpy, load_suite_task(suite, name, kwargs))
        self.action_space = checked_bounds(self.env.action_space, "action")
        self.observation_space = checked_bounds(self.env.observation_space, "observation")
        return self.env.limit, {"dm_control": version_of("dm_control")}

    def use_numpy(self, numpy):
        self.np = numpy
        self.scalar = (int, float, numpy.integer, numpy.floating, numpy.bool_)

    def reset(self, body):
        """Resets: after s with a seed (u64), after g from the generator with these words (u64), else without either."""
        kind, body = body[:1], body[1:]
        flag, words = 0, b""
        if kind == b"s":
            result = self.env.reset(seed=struct.unpack("<Q", body)[0])
        else:
            generator = self.env.unwrapped.np_random
            if kind == b"g":
                set_generator(self.np, generator, body)
            flag, words = generator_words(self.np, generator)
            result = self.env.reset()
        obs, info = checked_parts(result, 2, "reset")
        return self.answer(obs, 0.0, flag, words, info)

    def step(self, body):
        np, space = self.np, self.action_space
        action = np.frombuffer(body, "<f4").astype(space.dtype).reshape(space.shape)
        if space.dtype != np.float32:
            # The other process clamps to the ends in f32, which may be outside the ends here.
            action = action.clip(space.low, space.high)
        obs, reward, terminated, truncated, info = checked_parts(self.env.step(action), 5, "step")
        if type(terminated) is not bool:
            terminated = self.truth(terminated, "terminated")
        if type(truncated) is not bool:
            truncated = self.truth(truncated, "truncated")
        if not isinstance(reward, float):
            reward = self.number(reward, "reward", "one number")
        flags = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        return self.answer(obs, reward, flags, b"", info)

    def truth(self, value, name):
        number = self.number(value, name, "a bool")
        if number not in (0.0, 1.0):
            raise Refused("interface", f"its `{name}` is {number}, but must be a bool")
        return number == 1.0

    def number(self, value, name, expected):
        """Converts a number or a bool, or an array with one entry, to a float."""
        if not isinstance(value, self.scalar):
            try:
                array = self.np.asarray(value)
                numeric = array.dtype.kind in NUMERIC_KINDS
            except Exception:
                numeric = False
            if not numeric:
                found = f"{' '.join(repr(value).split())[:100]} of type {type(value).__name__}"
                raise Refused("interface", f"its `{name}` is {found}, but must be {expected}")
            if array.size != 1:
                raise Refused("interface", f"its `{name}` has shape {array.shape}, but must be {expected}")
            value = array.item()
        try:
            return float(value)
        except OverflowError:
            raise Refused("interface", f"its `{name}` is too large for a float") from None

    def answer(self, obs, reward, flags, words, info):
        """Returns FIXED; names (JSON); values (f64); the generator's words if flagged; the observation (f64)."""
        obs = self.np.asarray(obs)
        if obs.shape != self.obs_shape:
            found, expected = obs.shape, self.obs_shape
            raise Refused("interface", f"its observation has shape {found}, but its observation space has {expected}")
        if obs.dtype.kind not in NUMERIC_KINDS:
            raise Refused("interface", f"its observation is an array of type {obs.dtype}, but must be numeric")
        names, values = [], []
        for name, value in info.items():
            if isinstance(value, self.scalar) and len(names) < MAX_SCALARS:
                try:
                    values.append(float(value))
                except OverflowError:
                    continue
                names.append(str(name))
        text = b""
        if names != self.names:
            self.names, text = names, packed(names)
        fixed = FIXED.pack(reward, flags, len(values), len(text))
        return b"".join((fixed, text, struct.pack(f"<{len(values)}d", *values), words, obs.astype("<f8").tobytes()))


main()
