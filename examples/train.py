"""Train with Lightning's own Trainer: fit, checkpoint, resume, predict. A minute on a CPU, without a download."""

from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from skimage.data import chelsea
from torch.utils.data import DataLoader

from lit_pure import Restorer, build, degrade

seed_everything(0)
small = "data.size=64 data.batch_size=2 data.val.crops=2 evaluation.pictures=1 evaluation.metrics=[psnr]"
module, data = build("demo", small.split())
saving = ModelCheckpoint("checkpoints", save_last=True, every_n_train_steps=2)
Trainer(max_steps=4, val_check_interval=2, callbacks=[saving]).fit(module, data)

module = type(module).load_from_checkpoint("checkpoints/last.ckpt")  # alone: it knows its settings
trainer = Trainer(max_steps=6)
trainer.fit(module, data, ckpt_path="checkpoints/last.ckpt")  # resumes at step 4, with the samples that come next
trainer.save_checkpoint("nano.ckpt")

lq_B3hw = degrade(chelsea()[:64, 100:164])
[restored_B3HW] = trainer.predict(module, DataLoader(lq_B3hw))
print(trainer.global_step, tuple(restored_B3HW.shape), Restorer.from_pretrained("nano.ckpt").scale)
