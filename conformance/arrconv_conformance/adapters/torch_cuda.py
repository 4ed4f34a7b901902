"""PyTorch on a CUDA device, with float32 that is float32: TF32 is turned off."""

import torch

from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.adapters.torch import TorchAdapter


def adapter() -> TorchAdapter:
    """The adapter. It changes PyTorch's settings for the whole process, as there is no other way to say it.

    Raises:
        Unavailable: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise Unavailable("torch_cuda: no CUDA device here")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    version = f"PyTorch {torch.__version__}, {libraries} on {torch.cuda.get_device_name()}"
    return TorchAdapter("torch_cuda", version, lambda tensors: [tensor.cuda() for tensor in tensors])
