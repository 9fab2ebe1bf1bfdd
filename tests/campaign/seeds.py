"""Whole inputs of every parser, from which fuzzing starts."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from sigmabench.harness.bundle import packing
from sigmabench.harness.bundle.container import write_bundle
from sigmabench.harness.posterior import file as posterior_file
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize import artefact_file
from sigmabench.harness.records.envelope import nothing
from sigmabench.harness.records.record_file import HASH, NO_HASH, tree_of
from sigmabench.harness.records.runtime_record import MEMORY
from sigmabench.harness.records.store import Store

from .parsers import CLASSES, KINDS, MARK, NPZ, _network, written

ROOT = Path(__file__).parents[2]


def _picture(form: str, mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, (6, 5), 3).save(made, form)
    return made.getvalue()


def picture() -> Iterator[bytes]:
    for form, modes in {
        "PNG": ("RGB", "L", "P", "RGBA", "I;16"), "JPEG": ("RGB", "CMYK"), "BMP": ("RGB",),
        "PPM": ("RGB", "1"), "TIFF": ("RGB", "L"), "WEBP": ("RGB",),
    }.items():  # fmt: skip
        yield from (_picture(form, mode) for mode in modes)


def labels() -> Iterator[bytes]:
    rows = [("file", "label"), ("a.png", "0"), ("sub/b.png", "1")]
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    yield table.getvalue().encode()
    yield b"\xef\xbb\xbf" + table.getvalue().encode()


def tar() -> Iterator[bytes]:
    table = next(labels())
    files = {"a.png": _picture("PNG"), "sub/b.png": _picture("PPM"), "labels.csv": table}
    folders = {f"{name}/{'long' * 20}.png": files["a.png"] for name in CLASSES}
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        for held in (files, folders):
            made = io.BytesIO()
            with tarfile.open(fileobj=made, mode="w", format=form) as archive:
                for name, content in held.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mtime = len(content), 1.5
                    archive.addfile(member, io.BytesIO(content))
                for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                    link = tarfile.TarInfo(f"cat/{kind.decode()}.png")
                    link.type = kind
                    link.linkname = "../sub/b.png" if kind == tarfile.SYMTYPE else "sub/b.png"
                    if held is files:
                        archive.addfile(link)
            yield made.getvalue().rstrip(b"\0") + bytes(1024)


def npz() -> Iterator[bytes]:
    for images in (np.zeros((2, 3, 3, 3), np.uint8), np.ones((2, 3, 3), np.float32)):
        arrays = dict.fromkeys(NPZ, images)
        arrays |= {name: np.arange(2) for name in NPZ if name.endswith("labels")}
        parts = []
        for name in NPZ:
            made = io.BytesIO()
            np.save(made, arrays[name])
            parts.append(made.getvalue())
        yield MARK.join(parts)
        for save in (np.savez, np.savez_compressed):
            made = io.BytesIO()
            save(made, **arrays)
            yield made.getvalue()


def _opened(data: bytes, key: str) -> tuple[bytes, str, bytes]:
    """Tensors' header, one entry of the metadata, body."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__")
    return json.dumps(header).encode(), metadata[key], data[end:]


def posterior() -> Iterator[bytes]:
    path = written(b"", ".seed")
    posterior_file.save(initial(_network(), 0.1), path, {"seed": 0})
    yield path.read_bytes()
    header, sealed, body = _opened(path.read_bytes(), posterior_file.FORMAT)
    yield MARK.join((header, sealed.partition("\n")[2].encode(), body))


def artefact() -> Iterator[bytes]:
    from quantize.test_artefact_check import KINDS as FORMS
    from quantize.test_artefact_check import stored

    for form in FORMS:
        header, sealed, body = _opened(stored(form), artefact_file.KEY)
        yield MARK.join((header, artefact_file._unsealed(sealed)[0].encode(), body))
    yield stored("INT8")


def record() -> Iterator[bytes]:
    layouts = ROOT / "tests" / "records" / "layouts"
    for number, kind in enumerate(KINDS):
        for path in sorted(layouts.glob(f"{kind.name}-*.json")):
            yield bytes([number]) + json.dumps(_shorter(json.loads(path.read_text()))).encode()
    for number, kind in enumerate(KINDS):
        found: Store[Any] = Store(ROOT / "results", kind)
        for record in found.records()[:1]:
            tree = tree_of(kind, replace(record, arrays=nothing()))
            yield bytes([number]) + json.dumps({**_shorter(tree), HASH: NO_HASH}).encode()


def _shorter(value: Any) -> Any:
    """The same with no list of more than 40 numbers, and slices that hold all of them."""
    if isinstance(value, dict):
        found = {name: _shorter(one) for name, one in value.items()}
        sliced = {"latency_ns", "slices"} <= found.keys()
        return {**found, "slices": [len(found["latency_ns"])]} if sliced else found
    return [_shorter(one) for one in value[:40]] if isinstance(value, list) else value


def _saved(value: Any) -> Iterator[bytes]:
    for zipped in (True, False):
        made = io.BytesIO()
        torch.save(value, made, _use_new_zipfile_serialization=zipped)
        yield b"\0" + made.getvalue()
        if zipped:
            import zipfile

            with zipfile.ZipFile(made) as members:
                (name,) = (one for one in members.namelist() if one.endswith("data.pkl"))
                yield b"\1" + members.read(name)


def checkpoint() -> Iterator[bytes]:
    tensors = {"mean": torch.zeros(2), "noise": torch.zeros(8, dtype=torch.uint8)}
    yield from _saved({"run": {"seed": 0}, "state": {**tensors, "epoch": 1, "log": [{"a": 0.5}]}})
    yield b"\1" + pickle.dumps({"run": {"seed": 0}, "state": {}}, protocol=2)


def _bayesian() -> dict[str, torch.Tensor]:
    """A state of `_network` with bayesian-torch's layers."""
    found = {}
    for name, value in _network().state_dict().items():
        layer, own = name.split(".")
        part = {"0.weight": "kernel", "3.weight": "weight", "0.bias": "bias", "3.bias": "bias"}
        if name in part:
            found |= {f"{layer}.{role}_{part[name]}": value.clone() for role in ("mu", "rho")}
        else:
            found[f"{layer}.{own}"] = value
    return found


def _uncertain() -> dict[str, torch.Tensor]:
    """The same with torch-uncertainty's layers."""
    own = {"mu_kernel": "weight_mu", "mu_weight": "weight_mu", "mu_bias": "bias_mu"}
    own |= {name.replace("mu", "rho"): each.replace("mu", "sigma") for name, each in own.items()}
    found = {}
    for name, value in _bayesian().items():
        layer, part = name.split(".")
        found[f"{layer}.{own.get(part, part)}"] = value
    return {**found, "3.weight_sampler.mu": found["3.weight_mu"]}


def _laplace(**fields: Any) -> dict[str, Any]:
    """An approximation of all weights of `_network` but its norm's, or of what `fields` say."""
    drawn = [value for name, value in _network().named_parameters() if name[0] != "1"]
    mean = torch.cat([value.detach().flatten() for value in drawn])
    return {
        "mean": mean, "H": torch.ones(len(mean)), "prior_precision": torch.ones(1),
        "sigma_noise": torch.ones(()), "temperature": 1.0, "likelihood": "classification",
        "n_outputs": 2, "cls_name": "DiagLaplace", **fields,
    }  # fmt: skip


def laplace() -> Iterator[bytes]:
    yield from _saved(_laplace())
    last = torch.cat([value.detach().flatten() for value in _network()[3].parameters()])
    yield from _saved(
        _laplace(mean=last, H=last, cls_name="DiagLLLaplace", _last_layer_name="3", data=[last])
    )


def state_dict() -> Iterator[bytes]:
    yield from _saved(_bayesian())
    yield from _saved(_uncertain())
    yield from _saved({"model": _bayesian(), "epoch": 3})


def state_file() -> Iterator[bytes]:
    yield safetensors.torch.save(_bayesian())
    yield safetensors.torch.save({k: v.clone() for k, v in _uncertain().items()})
    yield safetensors.torch.save({"module." + k: v for k, v in _bayesian().items()})


def weights() -> Iterator[bytes]:
    yield safetensors.torch.save(_network().state_dict())


def predictions() -> Iterator[bytes]:
    tensors = {f"{name}/1": torch.zeros(2) for name in ("confidence", "entropy", "nlls", "briers")}
    tensors |= {"prediction/1": torch.zeros(2, dtype=torch.int64), "other/spent": torch.zeros(2)}
    data = safetensors.torch.save(tensors, {"facts": json.dumps({"1": [1, 2]})})
    header, facts, body = _opened(data, "facts")
    yield MARK.join((header, facts.encode(), body))


def digests() -> Iterator[bytes]:
    yield json.dumps({"a.png": ([1, 2, 3, 4], "0" * 64)}).encode()


def options() -> Iterator[bytes]:
    yield b"lenet-digits\nFP32,INT8\n10,auto\n1,32\npaper\nminmax\ntest\nmnist"
    yield b"resnet20-cifar10\nint4_sigma2\n10\n1\nheadroom\nmse\nvalidation\nsvhn"


def shown() -> Iterator[bytes]:
    yield "\x1b[2J σ ± é \u202e \x9b31m".encode()
    yield b"\xff\xfe not UTF-8"


def bundle() -> Iterator[bytes]:
    path = written(b"", ".seed.tar")
    kept = Store(ROOT / "results", MEMORY).records()[0]
    ((name, content),) = packing._files(MEMORY, kept)
    write_bundle(path, {name: content}, "0", "somebody")
    yield path.read_bytes()
    yield MARK.join((name.encode(), content))


def submitted() -> Iterator[bytes]:
    yield from record()


def history() -> Iterator[bytes]:
    from history import asv_files

    folder = written(b"", ".seed").parent / "seed-asv"
    asv_files.benchmarks(folder)
    asv_files.machine(folder, "machine-0")
    made = asv_files.result(folder, "machine-0", 1, asv_files.sampler([1.5, float("nan")]))
    yield MARK.join(((folder / "benchmarks.json").read_bytes(), made.read_bytes()))
    yield made.read_bytes()


#: By the names of `PARSERS`.
SEEDS = {
    made.__name__.replace("_", "-"): made
    for made in (
        tar, labels, npz, picture, posterior, artefact, record, checkpoint, state_dict, state_file,
        laplace,
        weights, predictions, digests, options, shown, bundle, submitted, history,
    )
}  # fmt: skip
