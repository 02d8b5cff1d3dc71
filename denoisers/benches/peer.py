"""A peer for the benchmark `denoise`: ONNX Runtime, OpenVINO or PyTorch on the same networks with random weights.

python peer.py onnxruntime|openvino|openvino-bf16|pytorch|pytorch-bf16 [clock|cpu [threads]]
Needs torch, and onnx + onnxscript + onnxruntime or openvino. Reads lines `NETWORK COUNT HEIGHT WIDTH`, answers milliseconds.
"""

import io
import os
import sys
import time

engine, kind, threads = (sys.argv[1:] + ["clock", ""][len(sys.argv) - 2 :])[:3]
threads = int(threads or len(os.sched_getaffinity(0)))
now = {"clock": time.perf_counter, "cpu": time.process_time}[kind]

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(threads)
torch.manual_seed(1)


class DnCNN(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
        for _ in range(15):
            layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(64, 3, 3, padding=1))

    def forward(self, x):
        return x - self.net(x)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class UNet(nn.Module):
    def __init__(self, a=48, b=96, c=128):
        super().__init__()
        blocks = lambda n, width: nn.Sequential(*(Block(width) for _ in range(n)))
        self.head, self.tail = nn.Conv2d(13, a, 3, padding=1), nn.Conv2d(a, 12, 3, padding=1)
        self.enc1, self.enc2, self.body, self.dec2, self.dec1 = blocks(2, a), blocks(2, b), blocks(4, c), blocks(2, b), blocks(2, a)
        self.down1, self.down2 = nn.Conv2d(a, b, 2, 2), nn.Conv2d(b, c, 2, 2)
        self.up2, self.up1 = nn.ConvTranspose2d(c, b, 2, 2), nn.ConvTranspose2d(b, a, 2, 2)

    def forward(self, x):
        h = F.pixel_unshuffle(x - 0.5, 2)
        h = torch.cat([h, torch.full_like(h[:, :1], 0.25)], 1)
        fine = self.enc1(self.head(h))
        middle = self.enc2(self.down1(fine))
        up = self.dec2(self.up2(self.body(self.down2(middle))) + middle)
        return x - F.pixel_shuffle(self.tail(self.dec1(self.up1(up) + fine)), 2)


def prepare(network, shape):
    net = {"dncnn": DnCNN, "train": DnCNN, "unet": UNet}[network]().eval()
    x = torch.rand(shape[0], 3, *shape[1:])
    if network == "train":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(net.parameters(), lr=1e-4)

        def step():
            adam.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=engine.endswith("bf16")):
                loss = F.mse_loss(net(x), x)
            loss.backward()
            adam.step()

        return step
    if engine.startswith("pytorch"):
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        bf16 = engine.endswith("bf16")

        def call():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                net(x)

        return call
    path = f"/tmp/smoothgate-peer-{os.getpid()}.onnx"
    torch.onnx.export(net, (x,), path, input_names=["x"], external_data=False, verbose=False)
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        x = x.numpy()
        call = lambda: session.run(None, {"x": x})
    else:
        import openvino

        precision = "bf16" if engine.endswith("bf16") else "f32"
        config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        model = openvino.Core().compile_model(path, "CPU", config)
        x = x.numpy()
        call = lambda: model([x])
    os.unlink(path)
    return call


cases = {}
for line in sys.stdin:
    network, *shape = line.split()
    if line not in cases:
        stdout, sys.stdout = sys.stdout, io.StringIO()
        cases[line] = prepare(network, [int(n) for n in shape])
        cases[line]()
        sys.stdout = stdout
    start = now()
    cases[line]()
    print((now() - start) * 1e3, flush=True)
