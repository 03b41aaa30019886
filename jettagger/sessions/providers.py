"""Execution providers of ONNX Runtime as values: name and options, and the reason if one is not available."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jettagger.display import Brief
from jettagger.errors import ConfigError, ProviderError, hint, nearest

__all__ = ["CUDA_OPTIONS", "PROVIDERS", "Provider", "installed_runtimes"]

#: short names of execution providers
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}

#: default options of CUDA: products keep all bits of float32, no search for the fastest convolution for each new shape,
#: and memory is allocated as requested (ONNX Runtime would use the next power of two)
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT", "arena_extend_strategy": "kSameAsRequested"}

#: names of CUDA's options, for suggestions if one is misspelt
_KNOWN = (
    *CUDA_OPTIONS,
    *("device_id", "gpu_mem_limit", "do_copy_in_default_stream", "cudnn_conv_use_max_workspace", "user_compute_stream"),
    *("cudnn_conv1d_pad_to_nc1d", "enable_cuda_graph", "prefer_nhwc", "fuse_conv_bias", "sdpa_kernel"),
    *("use_ep_level_unified_stream", "tunable_op_enable", "tunable_op_tuning_enable"),
)

#: with TF32 the factors of a product have 10 bits; probabilities of a ParticleNet changed by 0.13 on an H200, so only
#: this is guaranteed, in units of a rewritten graph's tolerance
TF32_TOLERANCE = 20_000

#: provider -> what pip installs for it, instead of the onnxruntime that jettagger requires
_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "TensorrtExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "DmlExecutionProvider": "onnxruntime-directml",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
}

#: distributions of ONNX Runtime, which share one folder
_RUNTIMES = ("onnxruntime", *dict.fromkeys(package.partition("[")[0] for package in _PACKAGES.values()))


@dataclass(frozen=True)
class Provider(Brief):
    """An execution provider and its options.

    Parameters
    ----------
    name : str
        Name in ONNX Runtime.
    options : tuple of (str, str)
        Options in ONNX Runtime's form, sorted.

    Examples
    --------
    >>> Provider.of("cuda,device_id=1").options[2:]
    (('device_id', '1'), ('use_tf32', '0'))
    """

    name: str = PROVIDERS["cpu"]
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, text: str | Provider | None) -> Provider:
        """A provider from text; CUDA gets `CUDA_OPTIONS` unless they are overridden.

        Parameters
        ----------
        text : str or Provider, optional
            Short or full name, optionally followed by options: ``cuda,device_id=1,use_tf32=1``. Default: the CPU. A
            provider is returned as it is.

        Returns
        -------
        Provider

        Raises
        ------
        ConfigError
            If an option has no name or no value, or is given twice.
        """
        if isinstance(text, Provider):
            return text
        name, *pairs = [part.strip() for part in (text or "cpu").split(",")]
        full = PROVIDERS.get(name, name)
        given: dict[str, str] = {}
        for pair in pairs:
            key, _, value = (part.strip() for part in pair.partition("="))
            if not key or not value or key in given:
                raise ConfigError(
                    f"provider {text!r} has {pair!r}, expected each option once: cuda,device_id=1,use_tf32=0"
                )
            given[key] = value
        options = {**(CUDA_OPTIONS if full == PROVIDERS["cuda"] else {}), **given}
        return cls(full, tuple(sorted(options.items())))

    @property
    def on_cpu(self) -> bool:
        """Whether networks run on the CPU."""
        return self.name == PROVIDERS["cpu"]

    @property
    def on_gpu(self) -> bool:
        """Whether inputs and outputs are bound in the memory of a GPU with CUDA."""
        return self.name == PROVIDERS["cuda"]

    @property
    def device(self) -> int:
        """Index of the GPU."""
        text = dict(self.options).get("device_id", "0")
        return int(text) if text.isdigit() else 0

    @property
    def memory(self) -> int | None:
        """Memory limit on the GPU in bytes, if given."""
        text = dict(self.options).get("gpu_mem_limit", "")
        return int(text) if text.isdigit() and int(text) else None

    @property
    def tf32(self) -> bool:
        """Whether factors of products are rounded to 10 bits (TF32)."""
        return self.on_gpu and dict(self.options).get("use_tf32", "1").lower() not in ("0", "false")

    @property
    def tolerance(self) -> float:
        """Tolerance of scores, in units of a rewritten graph's tolerance: 1e-5 for a probability."""
        return TF32_TOLERANCE if self.tf32 else 1

    def require(self) -> None:
        """Check that the provider is available; the CUDA libraries are loaded from installed wheels.

        Raises
        ------
        ProviderError
            If this build of ONNX Runtime lacks it; says what to install.

        Warns
        -----
        RuntimeWarning
            If two distributions of ONNX Runtime share their folder, or if TF32 was requested.
        """
        import onnxruntime

        present = onnxruntime.get_available_providers()
        if self.name not in present:
            near = "" if self.name in _PACKAGES else hint(self.name, [*present, *PROVIDERS])
            raise ProviderError(
                f"execution provider {self._short!r} is not available{near}; this ONNX Runtime has "
                f"{', '.join(present)}{self._advice()}",
                where="this ONNX Runtime",
                got=self._short,
                expected=f"one of {', '.join(present)}",
                nearest=nearest(self.name, [*present, *PROVIDERS]) if near else (),
            )
        if not self.on_gpu:
            return
        both = installed_runtimes()
        if len(both) > 1:
            warnings.warn(
                f"{_listed(both)} are both installed and share one folder: files of the one that was installed last "
                f"lie among those of the other. To have one: {self._lines()}",
                RuntimeWarning,
                stacklevel=2,
            )
        if self.tf32:
            warnings.warn(
                "TF32 was asked for: factors of products have 10 bits, relative 5e-4, and scores are held to "
                f"{TF32_TOLERANCE * 1e-5:g} of a probability instead of 1e-5; use_tf32=0 keeps float32",
                RuntimeWarning,
                stacklevel=2,
            )
        if hasattr(onnxruntime, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # what could not be loaded is told when it is needed
                onnxruntime.preload_dlls()

    def inactive(self, reason: str) -> ProviderError:
        """The error for a requested provider that did not become active.

        Parameters
        ----------
        reason : str
            Message of ONNX Runtime, or the provider that is active instead.

        Returns
        -------
        ProviderError
        """
        text = f"execution provider {self.name} was asked for, {' '.join(reason.split())}"
        told: dict[str, Any] = {
            "where": f"execution provider {self.name}", "got": " ".join(reason.split()), "expected": self.name
        }  # fmt: skip
        if not self.on_gpu:
            return ProviderError(text, **told)
        unknown = [name for name, _ in self.options if name not in _KNOWN and name in reason]
        if unknown:
            told |= {"got": unknown[0], "expected": "an option of the provider", "nearest": nearest(unknown[0], _KNOWN)}
            return ProviderError(f"{text}; provider option {unknown[0]!r}{hint(unknown[0], _KNOWN)}", **told)
        missing = _missing_library()
        text = f"{text}; a library cannot be loaded: {missing}{self._advice()}" if missing else text
        return ProviderError(text, **told)

    @property
    def _short(self) -> str:
        return next((short for short, name in PROVIDERS.items() if name == self.name), self.name)

    def _advice(self) -> str:
        """What to install."""
        if self.name not in _PACKAGES:
            return ""
        both = installed_runtimes()
        why = f"; {_listed(both)} are both installed and share one folder" if len(both) > 1 else ""
        package = _PACKAGES[self.name].partition("[")[0]
        return f"{why}. {self.name} comes with {package} instead of onnxruntime: {self._lines()}"

    def _lines(self) -> str:
        """The commands that leave the one ONNX Runtime that has this provider."""
        there = [name for name in _RUNTIMES if name in ("onnxruntime", _PACKAGES[self.name].partition("[")[0])]
        there += [text.split()[0] for text in installed_runtimes() if text.split()[0] not in there]
        return f"`pip uninstall -y {' '.join(there)}`; `pip install '{_PACKAGES[self.name]}'`"


def installed_runtimes() -> list[str]:
    """Installed distributions of ONNX Runtime with versions; several of them overwrite each other.

    Returns
    -------
    list of str
    """
    names = []
    for name in _RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            names.append(f"{name} {version(name)}")
    return names


def _listed(names: list[str]) -> str:
    return " and ".join(names)


def _missing_library() -> str:
    """The reason why ONNX Runtime's CUDA library cannot be loaded; empty if it can."""
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    front, end = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    for name in ("shared", "cuda"):
        path = folder / f"{front}onnxruntime_providers_{name}{end}"
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return str(error)
    return ""
