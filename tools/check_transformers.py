"""Compares the models of a run folder, as Hugging Face transformers reads them, with `rlhf`.

For each language model: the log-probs of greedily generated tokens (`rlhf generate`) against a
forward pass of transformers, and the greedy tokens themselves. For the reward model: scores of
`rlhf score` against `AutoModelForSequenceClassification`. Every difference must be within 2e-4. With
`--families` in the place of a folder: see check_families.py.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

TOLERANCE = 2e-4


def run(*command):
    subprocess.run([str(c) for c in command], check=True)


def rows_of(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def close(ours, theirs):
    return abs(ours - theirs) <= TOLERANCE + TOLERANCE * abs(theirs)


def check_language_model(binary, folder, prompts, work):
    out = work / "answers.jsonl"
    run(binary, "generate", "--model", folder, "--prompts", prompts, "--greedy",
        "--max-new-tokens", 24, "--out", out, "--quiet")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    worst, tokens = 0.0, 0
    for row in rows_of(out):
        messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + row["tokens"]])
        with torch.no_grad():
            logprobs = model(ids).logits.float().log_softmax(-1)[0]
        for k, (token, ours) in enumerate(zip(row["tokens"], row["logprobs"])):
            at = logprobs[len(prompt) + k - 1]
            theirs = at[token].item()
            assert close(ours, theirs), f"{folder}: log-prob {ours} here, {theirs} in transformers"
            assert theirs >= at.max().item() - TOLERANCE, f"{folder}: not the likeliest token"
            worst, tokens = max(worst, abs(ours - theirs)), tokens + 1
    print(f"{folder}: {tokens} tokens, largest difference {worst:.1e}")
    return out


def check_reward_model(binary, folder, answers, work):
    out = work / "scores.jsonl"
    run(binary, "score", "--reward", folder, "--data", answers, "--out", out, "--quiet")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    assert model.config.num_labels == 1
    worst, rows = 0.0, rows_of(out)
    for row in rows:
        messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + row["tokens"]])
        with torch.no_grad():
            # One row without padding, so that the last token is the one that is read.
            theirs = model(ids, attention_mask=torch.ones_like(ids)).logits[0, 0].item()
        assert close(row["reward"], theirs), f"{folder}: {row['reward']} here, {theirs} there"
        worst = max(worst, abs(row["reward"] - theirs))
    print(f"{folder}: {len(rows)} scores, largest difference {worst:.1e}")


def main():
    folder, binary = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        if sys.argv[1] == "--families":
            from check_families import check_families

            check_families(binary, work)
            print("all families agree")
            return
        prompts = work / "prompts.jsonl"
        some = rows_of(folder / "world" / "evaluation.jsonl")[::40][:24]
        prompts.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
        for stage in ("pretrain", "sft", "ppo"):
            answers = check_language_model(binary, folder / stage / "model", prompts, work)
        check_reward_model(binary, folder / "reward" / "reward", answers, work)
    print("all models agree")


if __name__ == "__main__":
    main()
