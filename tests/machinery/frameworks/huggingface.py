"""The loop: train a language model with the Trainer of Hugging Face."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from spot.trainer import Session

OUTPUT = Path("output/huggingface")
STEPS = 60
CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=64, n_positions=16, bos_token_id=0, eos_token_id=0)


class Commit(TrainerCallback):
    """Write a checkpoint when the session needs one, and commit each that is written."""

    def __init__(self, session: Session, folder: Any) -> None:
        self.session, self.folder = session, folder

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.folder.step():
            control.should_save = True
        control.should_training_stop |= self.session.finished

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.session.log({name: value for name, value in kwargs["logs"].items() if isinstance(value, float)})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.folder.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def main() -> None:
    with Session.from_environment(metrics={"perplexity": "exp min"}) as session:
        folder = session.folder(OUTPUT)
        session.track(total_steps=STEPS, folder=folder)
        arguments = TrainingArguments(
            output_dir=str(OUTPUT),
            max_steps=STEPS,
            per_device_train_batch_size=8,
            logging_steps=20,
            save_strategy="no",
            save_total_limit=2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=session.device.type == "cpu",
        )
        model: Any = GPT2LMHeadModel.from_pretrained(folder.restored) if session.finished else GPT2LMHeadModel(CONFIG)
        trainer: Any = Trainer(
            model=model, args=arguments, train_dataset=texts(0, 100), callbacks=[Commit(session, folder)]
        )
        if not session.finished:
            trainer.train(resume_from_checkpoint=str(folder.restored) if folder.restored else None)
        model.eval()
        session.evaluate(lambda batch: judge(model, batch), trainer.get_eval_dataloader(texts(100, 120)))
        with session.export() as results:
            trainer.save_model(str(results))


def judge(model: GPT2LMHeadModel, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return value and weight of each text: the perplexity is the exponential of the mean over words."""
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1].transpose(1, 2)
    losses = functional.cross_entropy(logits, batch["labels"][:, 1:], reduction="none")
    return {"perplexity": (losses.mean(dim=1), torch.full_like(losses[:, 0], losses.shape[1]))}


def texts(first: int, last: int) -> list[dict[str, Tensor]]:
    words = torch.arange(first * 16, last * 16).view(-1, 16) % 61
    return [{"input_ids": text, "labels": text} for text in words]
