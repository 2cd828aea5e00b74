"""Opens a folder of every family, as `rlhf` wrote it, in Hugging Face transformers.

The tiny models of `rlhf-golden/reference/models` are exported in f32 and bf16, trained by one step of
`rlhf pretrain`, and, where they have a chat template, by one of `rlhf reward`. Of each folder:
transformers finds every tensor and no other; an exported folder gives the very logits of its source (of
the source's weights rounded to bfloat16 for bf16); the log-probs of `rlhf generate` and the scores of
`rlhf score` are those of transformers within 2e-4.
"""
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from check_transformers import check_reward_model, close, rows_of, run

MODELS = pathlib.Path(__file__).parent.parent / "rlhf-golden" / "reference" / "models"
TEXTS = ["The river of Nagu", "12 + 34 = 46, isn't it?", "naïve café, 你好"]


def opened(folder, kind=AutoModelForCausalLM):
    """A model in f32 of whose tensors none was missing, unexpected or of another shape."""
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], f"{folder}: {what}: {info[what]}"
    return model.eval()


def inputs(vocabulary):
    """Rows that reach past every window of the tiny models."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(vocabulary, (2, 48), generator=generator)


def logits(model):
    with torch.no_grad():
        return model(inputs(model.config.vocab_size)).logits


def check_export(binary, source, dtype, work):
    out = work / f"{source.name}-{dtype}"
    run(binary, "export", "--model", source, "--dtype", dtype, "--out", out, "--quiet")
    config = json.loads((out / "config.json").read_text())
    written = config.get("dtype") or config.get("torch_dtype")
    assert written == {"f32": "float32", "bf16": "bfloat16"}[dtype], f"{out}: {written}"
    reference = opened(source)
    if dtype == "bf16":
        with torch.no_grad():
            for parameter in reference.parameters():
                parameter.copy_(parameter.bfloat16().float())
    difference = (logits(opened(out)) - logits(reference)).abs().max().item()
    assert difference == 0, f"{out}: logits differ by {difference}"
    return out


def check_answers(binary, folder, work):
    """Log-probs of greedily generated tokens, without a chat template."""
    prompts, out = work / "prompts.jsonl", work / "answers.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    run(binary, "generate", "--model", folder, "--prompts", prompts, "--greedy", "--raw",
        "--max-new-tokens", 24, "--out", out, "--quiet")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), opened(folder)
    worst, tokens = 0.0, 0
    for row in rows_of(out):
        prompt = tokenizer(row["prompt"])["input_ids"]
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + row["tokens"]])).logits[0].log_softmax(-1)
        for k, (token, ours) in enumerate(zip(row["tokens"], row["logprobs"])):
            theirs = logprobs[len(prompt) + k - 1][token].item()
            assert close(ours, theirs), f"{folder}: log-prob {ours} here, {theirs} in transformers"
            worst, tokens = max(worst, abs(ours - theirs)), tokens + 1
    return f"{tokens} tokens, largest difference {worst:.1e}"


def train(binary, source, work):
    """One step of pre-training: what the stages write, configuration and tokenizer included."""
    data, out = work / "texts.jsonl", work / f"{source.name}-trained"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS * 40))
    run(binary, "pretrain", "--model", source, "--data", data, "--out", out, "--quiet",
        "--set", "pretrain.steps=1", "--set", "pretrain.warmup_steps=0",
        "--set", "pretrain.batch_size=2", "--set", "pretrain.sequence_length=32")
    changed = (logits(opened(out / "model")) - logits(opened(source))).abs().max().item()
    assert changed > 0, f"{out}: the step changed nothing"
    return out / "model"


def train_reward(binary, source, work):
    data, out = work / "pairs.jsonl", work / f"{source.name}-reward"
    pair = {"prompt": "Who?", "chosen": "The cat.", "rejected": "the 12"}
    data.write_text("".join(json.dumps(pair | {"prompt": f"Who? {k}"}) + "\n" for k in range(40)))
    run(binary, "reward", "--model", source, "--data", data, "--out", out, "--quiet",
        "--set", "reward.steps=1", "--set", "reward.warmup_steps=0", "--set", "reward.batch_size=2")
    return out / "reward"


def check_family(binary, source, work):
    name = source.name
    for dtype in ("f32", "bf16"):
        out = check_export(binary, source, dtype, work)
        print(f"{name} {dtype}: the source's logits; {check_answers(binary, out, work)}")
    trained = train(binary, source, work)
    print(f"{name} trained: {check_answers(binary, trained, work)}")
    if AutoTokenizer.from_pretrained(source).chat_template is None:
        print(f"{name} reward: no chat template, so no reward model")
        return
    answers = work / "chat.jsonl"
    asked = work / "asked.jsonl"
    asked.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    run(binary, "generate", "--model", source, "--prompts", asked, "--greedy",
        "--max-new-tokens", 8, "--out", answers, "--quiet")
    reward = train_reward(binary, source, work)
    opened(reward, AutoModelForSequenceClassification)
    check_reward_model(binary, reward, answers, work)


def check_families(binary, work):
    sources = sorted(path.parent for path in MODELS.glob("*/config.json"))
    assert sources, f"no model in {MODELS}"
    for source in sources:
        check_family(binary, source, work)
