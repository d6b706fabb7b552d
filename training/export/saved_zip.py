"""Reads the policy in a zip file of Stable-Baselines3, without running anything in it. Needs torch.

What can go wrong, and what prevents it. The file `data` has pickled objects, which run code where they are loaded: only
the texts beside them are read (JSON). `policy.pth` is a pickle, too: it is read with weights alone, each tensor must be
plain numbers of the file, and a file of another form is refused. A small file could unpack to a large one, or a shape
claim more numbers than there are: sizes are bounded before anything is unpacked or computed. A network of another form
would be rebuilt wrongly: its tensors must have exactly the names and shapes of a standard network.
"""

import io
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from quantd.models.artifacts.folder import FILE_BYTES, read_bytes
from quantd.models.artifacts.manifest import ArtifactError

MEMBERS: Final = 64
"""Most files of an archive, and most of the weights."""
DATA_BYTES: Final = 1 << 24

_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {"Tanh": nn.Tanh, "ReLU": nn.ReLU}

_HARMLESS: Final = {
    ":type:", ":serialized:", "activation_fn", "log_std_init", "n_critics", "net_arch", "normalize_images",
    "optimizer_class", "optimizer_kwargs", "ortho_init", "share_features_extractor", "use_sde",
}  # fmt: skip
"""Entries of policy_kwargs that leave the network a standard one."""


class Form(NamedTuple):
    """A kind of policy: its algorithm, activation and squashing, and the names of its tensors.

    `hidden` begins the names of the layers, `head` that of the last one; empty where it is among the layers. `others`
    match the tensors that do not act, such as critics.
    """

    algorithm: str
    activation: str
    squashed: bool
    hidden: str
    head: str
    others: str


_FORMS: Final[Mapping[str, Form]] = {
    "stable_baselines3.common.policies": Form(
        "a2c", "Tanh", False, "mlp_extractor.policy_net.", "action_net.",
        r"log_std|value_net\.|mlp_extractor\.value_net\.",
    ),
    "stable_baselines3.dqn.policies": Form("dqn", "ReLU", False, "q_net.q_net.", "", r"q_net_target\.q_net\."),
    "stable_baselines3.sac.policies": Form(
        "sac", "ReLU", True, "actor.latent_pi.", "actor.mu.", r"actor\.log_std\.|critic(_target)?\.qf\d+\."
    ),
    "stable_baselines3.td3.policies": Form(
        "td3", "ReLU", True, "actor.mu.", "", r"actor_target\.mu\.|critic(_target)?\.qf\d+\."
    ),
}  # fmt: skip
"""The module of a policy's class -> its form."""


class Saved(NamedTuple):
    """A policy that was read: its layers, whether a tanh ends them, and what it sees and answers."""

    algorithm: str
    layers: nn.Sequential
    squashed: bool
    space: Mapping[str, Any]
    """The action space, as texts."""


def saved_policy(path: Path) -> Saved:
    """Return the policy in a zip file of PPO, A2C, DQN, SAC or TD3. Raises ArtifactError for any other content."""
    members = _members(path, read_bytes(path, FILE_BYTES), {"data": DATA_BYTES, "policy.pth": FILE_BYTES})
    try:
        data = json.loads(members["data"])
        module = str(data["policy_class"]["__module__"])
        settings = {} if data.get("policy_kwargs") is None else dict(data["policy_kwargs"])
        seen, space = dict(data["observation_space"]), dict(data["action_space"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ArtifactError(f"{path}: data: no record of a Stable-Baselines3 model; save it by model.save()") from None
    if (form := _FORMS.get(module)) is None:
        raise ArtifactError(f"{path}: a policy of {module[:80]}; MlpPolicy of PPO, A2C, DQN, SAC and TD3 are imported")
    if form.algorithm == "a2c" and "clip_range" in data:
        form = form._replace(algorithm="ppo")
    if unknown := sorted(set(settings) - _HARMLESS):
        raise ArtifactError(f"{path}: policy_kwargs {unknown[0][:80]!r} changes the network; it is not imported")
    if data.get("use_sde") or settings.get("use_sde"):
        raise ArtifactError(f"{path}: use_sde (gSDE) changes the network; it is not imported")
    if seen.get("dtype") != "float32":
        raise ArtifactError(f"{path}: an observation of {str(seen.get('dtype'))[:40]}; float32 is expected")
    named = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(settings.get("activation_fn", "")))
    activation = named.group(1) if named else str(settings.get("activation_fn", form.activation))
    if activation not in _ACTIVATIONS:
        raise ArtifactError(f"{path}: the activation {activation[:80]}; {' and '.join(_ACTIVATIONS)} are imported")
    layers = _layers(path, form, _tensors(path, members["policy.pth"]), _ACTIVATIONS[activation])
    return Saved(form.algorithm, layers, form.squashed, space)


def _members(path: Path, data: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return the named files of a zip archive of at most these sizes. Nothing is written anywhere."""
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(names) > MEMBERS or len(set(names)) != len(names):
                raise ArtifactError(f"{path}: {len(names)} files, or one twice; at most {MEMBERS} are expected")
            if wrong := [name for name in names if name.startswith("/") or "\\" in name or ".." in name.split("/")]:
                raise ArtifactError(f"{path}: a file {wrong[0][:80]!r} outside its folder; it is not read")
            if missing := [name for name in limits if name not in names]:
                raise ArtifactError(f"{path}: no {missing[0]} in it; save the model by model.save()")
            members = {}
            for name, limit in limits.items():
                with archive.open(name) as file:
                    members[name] = file.read(limit + 1)  # the size in the archive may be a lie
                if len(members[name]) > limit:
                    raise ArtifactError(f"{path}: {name} unpacks to more than {limit} bytes; it is not read")
            return members
    except ArtifactError:
        raise
    except Exception as error:  # zipfile and its decompressors raise several classes
        kind = "no zip file" if isinstance(error, BadZipFile) else type(error).__name__
        raise ArtifactError(f"{path}: {kind}: {str(error)[:80]}") from None


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Return the tensors of policy.pth by name. Raises ArtifactError for anything but float32 numbers."""
    where = f"{path}: policy.pth"
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except BadZipFile:
        raise ArtifactError(
            f"{where}: not of the form that torch.save writes since 1.6; save the model again"
        ) from None
    if any(e.compress_type != ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > len(data):
        raise ArtifactError(f"{where}: it is compressed, which torch.save never does; it is not read")
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # the restricted unpickler raises several classes
        raise ArtifactError(f"{where}: it has more than weights in it; it is not read, and nothing was run") from None
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise ArtifactError(f"{where}: no table of tensors by name")
    for name, tensor in tensors.items():
        plain = (
            type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.device.type == "cpu"
        )
        if not plain or tensor.dtype is not torch.float32:
            raise ArtifactError(
                f"{where}: {name[:80]} is {getattr(tensor, 'dtype', type(tensor))}; float32 is expected"
            )
        if not tensor.is_contiguous() or tensor.numel() * 4 > len(data):
            raise ArtifactError(f"{where}: {name[:80]} has the shape {tuple(tensor.shape)}, more than the file holds")
        if not torch.isfinite(tensor).all():
            raise ArtifactError(f"{where}: {name[:80]} has a number that is not finite")
    return tensors


def _layers(path: Path, form: Form, tensors: dict[str, Tensor], activation: type[nn.Module]) -> nn.Sequential:
    """Rebuild the acting network from its tensors. Raises ArtifactError for tensors of another network."""
    hidden = re.escape(form.hidden) + r"\d+\.(weight|bias)"
    head = re.escape(form.head) + "(weight|bias)" if form.head else hidden
    for name in tensors:
        if not re.fullmatch(hidden, name) and not re.fullmatch(head, name) and not re.match(form.others, name):
            raise ArtifactError(f"{path}: policy.pth: {name[:80]} is in no MlpPolicy of {form.algorithm.upper()}")
    numbers = sorted({int(name[len(form.hidden) :].split(".")[0]) for name in tensors if re.fullmatch(hidden, name)})
    names = [f"{form.hidden}{number}." for number in numbers] + ([form.head] if form.head else [])
    if numbers != list(range(0, 2 * len(numbers), 2)) or not names:
        raise ArtifactError(
            f"{path}: policy.pth: layers {numbers} of {form.hidden[:-1]}; 0, 2, 4 and so on are expected"
        )
    layers: list[nn.Module] = []
    for name in names:
        weight, bias = (tensors.get(name + part) for part in ("weight", "bias"))
        if weight is None or bias is None or weight.dim() != 2 or not weight.numel() or bias.shape != weight.shape[:1]:
            shapes = [None if part is None else tuple(part.shape) for part in (weight, bias)]
            raise ArtifactError(f"{path}: policy.pth: {name[:-1]}: weight and bias of the shapes {shapes}")
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
        layers += [layer, activation()]
    for a, b in pairwise(layers[::2]):
        if a.out_features != b.in_features:
            raise ArtifactError(
                f"{path}: policy.pth: a layer of {a.out_features} outputs before one of {b.in_features} inputs"
            )
    return nn.Sequential(*layers[:-1]).requires_grad_(False)
