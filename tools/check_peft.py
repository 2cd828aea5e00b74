"""Compares adapter folders, as PEFT reads them, with `rlhf`, and an adapter of PEFT's with both.

For a language model's adapters: the log-probs of greedily generated tokens (`rlhf generate`) against
PEFT on transformers. For a reward model's: scores of `rlhf score`. Then PEFT writes an adapter of its
own for the same base model, which `rlhf` reads. Every difference must be within 2e-4.
"""
import json
import pathlib
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from check_transformers import TOLERANCE, close, rows_of, run

PROMPTS = ["What is the capital of Australia?", "Write a poem about the ocean.",
           "欢迎来到香港。", "How do I learn to cook?"]


def ids_of(tokenizer, row):
    messages = [{"role": "user", "content": row["prompt"]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    return prompt, torch.tensor([prompt + row["tokens"]])


def answers_of(binary, folder, work):
    prompts, out = work / "prompts.jsonl", work / "answers.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in PROMPTS), encoding="utf-8")
    run(binary, "generate", "--model", folder, "--prompts", prompts, "--greedy",
        "--max-new-tokens", 24, "--out", out, "--quiet")
    return out


def check_language_model(binary, folder, base, work):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, folder).eval()
    worst, tokens, moved = 0.0, 0, 0.0
    for row in rows_of(answers_of(binary, folder, work)):
        prompt, ids = ids_of(tokenizer, row)
        with torch.no_grad():
            logprobs = model(ids).logits.float().log_softmax(-1)[0]
            with model.disable_adapter():
                without = model(ids).logits.float().log_softmax(-1)[0]
        moved = max(moved, (logprobs - without).abs().max().item())
        for k, (token, ours) in enumerate(zip(row["tokens"], row["logprobs"])):
            theirs = logprobs[len(prompt) + k - 1][token].item()
            assert close(ours, theirs), f"{folder}: log-prob {ours} here, {theirs} in PEFT"
            worst, tokens = max(worst, abs(ours - theirs)), tokens + 1
    assert moved > 100 * TOLERANCE, f"{folder}: the adapter changes nothing, which tests nothing"
    print(f"{folder}: {tokens} tokens, largest difference {worst:.1e}")


def check_reward_model(binary, folder, base, work):
    out = work / "scores.jsonl"
    answers = answers_of(binary, base, work)
    run(binary, "score", "--reward", folder, "--data", answers, "--out", out, "--quiet")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=torch.float32)
    # Where padding is the end token, transformers would read the score before an answer's end.
    plain.config.pad_token_id = None
    model = PeftModel.from_pretrained(plain, folder).eval()
    worst, rows = 0.0, rows_of(out)
    for row in rows:
        _, ids = ids_of(tokenizer, row)
        with torch.no_grad():
            theirs = model(ids, attention_mask=torch.ones_like(ids)).logits[0, 0].item()
        assert close(row["reward"], theirs), f"{folder}: {row['reward']} here, {theirs} in PEFT"
        worst = max(worst, abs(row["reward"] - theirs))
    print(f"{folder}: {len(rows)} scores, largest difference {worst:.1e}")


def check_adapter_of_peft(binary, folder, base, work):
    """PEFT's own adapter, B not 0, with rsLoRA and one matrix of another rank."""
    torch.manual_seed(3)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    last = json.loads((folder / "adapter_config.json").read_text())["target_modules"][0]
    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, init_lora_weights=False,
                        target_modules="all-linear", rank_pattern={last: 2}, task_type="CAUSAL_LM")
    model = get_peft_model(plain, config)
    written = work / "of-peft"
    model.save_pretrained(written)
    AutoTokenizer.from_pretrained(folder).save_pretrained(written)
    check_language_model(binary, written, base, work)


def main():
    binary = pathlib.Path(sys.argv[-1])
    for folder in map(pathlib.Path, sys.argv[1:-1]):
        config = json.loads((folder / "adapter_config.json").read_text())
        base = config["base_model_name_or_path"]
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            if config["task_type"] == "SEQ_CLS":
                check_reward_model(binary, folder, base, work)
            else:
                check_language_model(binary, folder, base, work)
                check_adapter_of_peft(binary, folder, base, work)
    print("all adapters agree")


if __name__ == "__main__":
    main()
