"""What does a round of a language model cost beside the training itself?

Three ways train the same LoRA adapters on the same texts, each in a process of its own, in turns:

- bare: one loop without any framework, which loads the base once and averages the adapters
- reload: base, tokenizer and texts are loaded again for every message, as in Flower's template
- ours: a whole run of the app in this process (rounds with selection, packing, screening,
  aggregation, checkpoint), which loads the base once for its one worker

Seconds a round are the median of all rounds after the first, the weights are random. On a GPU:
``--device cuda --size 1b --steps 10 --batch 16 --length 512``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"60m": (512, 8, 8, 8, 1408), "1b": (2048, 22, 32, 4, 5632)}
WAYS = ("bare", "reload", "ours")
RANK, ALPHA, RATE = 8, 16, 1e-4
VOCABULARY = 32_000


def prepare(folder: Path, args: argparse.Namespace) -> None:
    """Write a base with random weights, and a file of texts for each client."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from models.bases.tiny_llama import train_tokenizer

    hidden, layers, heads, shared, inner = SIZES[args.size]
    words = [f"word{n}" for n in range(500)]
    tokenizer = train_tokenizer(words)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        intermediate_size=inner,
        max_position_embeddings=max(512, args.length),
        pad_token_id=tokenizer.pad_token_id,
    )
    module = LlamaForCausalLM(config)
    if args.device != "cpu":
        module = module.to(torch.bfloat16)
    module.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    random = np.random.default_rng(0)
    for client in range(args.clients):
        (folder / "data" / f"client-{client}").mkdir(parents=True)
        rows = [{"text": " ".join(random.choice(words, args.length))} for _ in range(64)]
        file = folder / "data" / f"client-{client}" / "train.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))


# ---- without a framework -----------------------------------------------------------------


def load(folder: Path, device: str) -> tuple[Any, Any]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    base = AutoModelForCausalLM.from_pretrained(folder / "base", local_files_only=True)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    base.config.use_cache = False
    tokenizer = AutoTokenizer.from_pretrained(folder / "base", local_files_only=True)
    return get_peft_model(base, config).to(device), tokenizer


def tokens_of(folder: Path, client: int, tokenizer: Any, length: int) -> Any:
    lines = (folder / "data" / f"client-{client}" / "train.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    return tokenizer(texts, truncation=True, max_length=length, return_tensors="pt").input_ids


def fit(model: Any, tokens: Any, args: argparse.Namespace, seed: int) -> None:
    import torch

    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    order = np.random.default_rng(seed).permutation(len(tokens))
    for step in range(args.steps):
        rows = order[np.arange(step * args.batch, (step + 1) * args.batch) % len(order)]
        batch = tokens[rows].to(args.device)
        logits = model(input_ids=batch).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def loop(folder: Path, args: argparse.Namespace, *, reload: bool) -> Iterator[float]:
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    def state(of: Any) -> dict[str, Any]:
        found = get_peft_model_state_dict(of, save_embedding_layers=False)
        return {key: value.detach().clone() for key, value in found.items()}

    model, tokenizer = load(folder, args.device)
    shared = state(model)
    texts: dict[int, Any] = {}
    for number in range(args.rounds + 1):
        began = time.perf_counter()
        results = []
        for client in range(args.clients):
            if reload:
                model, tokenizer = load(folder, args.device)
                texts.clear()
            if client not in texts:
                texts[client] = tokens_of(folder, client, tokenizer, args.length)
            set_peft_model_state_dict(model, shared)
            fit(model, texts[client], args, number)
            results.append(state(model))
        shared = {key: sum(r[key] for r in results) / len(results) for key in shared}
        if number:
            yield time.perf_counter() - began


# ---- ours --------------------------------------------------------------------------------


def ours(folder: Path, args: argparse.Namespace) -> Iterator[float]:
    from app.client_app import app
    from app.server.job import run_job
    from fedbouquet.testing import LocalGrid

    os.environ["BOUQUET_HOME"] = str(folder / "home")
    runs = Path(tempfile.mkdtemp(dir=folder))
    config: dict[str, str | int | float | bool] = {
        "task": "causal-lm",
        "task-args": "samples=0",
        "dataset": str(folder / "data"),
        "partition": "folders",
        "test-fraction": 0.02,
        "model": str(folder / "base"),
        "model-args": f"max-length={args.length}",
        "adapter-args": f"rank={RANK}, alpha={ALPHA}, targets='q_proj,v_proj'",
        "num-server-rounds": args.rounds + 1,
        "local-steps": args.steps,
        "batch-size": args.batch,
        "learning-rate": RATE,
        "evaluate-every": 0,
        "device": args.device,
        "out-dir": str(runs),
        "run-name": "ours",
    }
    run_job(LocalGrid(app, [{"partition-id": 0, "num-partitions": 1}], config), config)
    lines = (runs / "ours" / "metrics.jsonl").read_text().splitlines()
    # Round 0 only evaluates, the last one evaluates too.
    yield from (json.loads(line)["seconds"] for line in lines[2:-1])


def one(way: str, folder: Path, args: argparse.Namespace) -> dict[str, object]:
    """Run one way and say its rounds' seconds and the process's peak memory."""
    import torch

    if args.device == "cpu":
        torch.set_num_threads(args.threads)
    ways: dict[str, Callable[[], Iterator[float]]] = {
        "bare": lambda: loop(folder, args, reload=False),
        "reload": lambda: loop(folder, args, reload=True),
        "ours": lambda: ours(folder, args),
    }
    seconds = list(ways[way]())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if args.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": seconds, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="60m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4, help="counted, after the first")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.folder, args)))
        return
    folder = Path(tempfile.mkdtemp(prefix="llm-round-"))
    try:
        prepare(folder, args)
        report(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(folder: Path, args: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for turn in range(args.turns):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", way]
            done = subprocess.run(
                [*command, "--folder", str(folder)], stdout=subprocess.PIPE, check=True, text=True
            )
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    tokens = args.clients * args.steps * args.batch * args.length
    medians = {
        way: statistics.median(s for r in rs for s in r["seconds"]) for way, rs in found.items()
    }
    print(f"{args.size} on {args.device}, {tokens} tokens a round, load {os.getloadavg()[0]:.1f}")
    for way, runs in found.items():
        seconds, peak = medians[way], max(run["peak"] for run in runs)
        spread = [s for run in runs for s in run["seconds"]]
        print(
            f"{way:7} {seconds:8.3f} s a round ({min(spread):.3f} to {max(spread):.3f})  "
            f"{tokens / seconds:8.0f} tokens/s  {peak:6.0f} MiB"
        )
    print(f"ours / bare: {medians['bare'] / medians['ours']:.2f} of its speed (bar: 0.90)")
    print(f"ours / reload: {medians['reload'] / medians['ours']:.2f} times as fast (bar: 3)")


if __name__ == "__main__":
    main()
