"""Our callbacks with a Trainer of one's own: boards, picture files, averaged weights, speed. They take any module."""

from lightning import Trainer

from lit_pure import build
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.callbacks.loss_history import LossHistory
from lit_pure.lit.callbacks.pictures import EntropyMap, ImageGrid, TextSamples
from lit_pure.lit.callbacks.save_pictures import SavePictures
from lit_pure.lit.callbacks.throughput import Throughput

small = "data.size=64 data.batch_size=2 data.val.crops=2 data.test.demo.crops=1 evaluation.metrics=[psnr]"
module, data = build("demo", small.split())
sets = sorted(data.test)

history, speed = LossHistory(), Throughput()
boards = [ImageGrid(sets), EntropyMap(sets), TextSamples(sets)]  # in TensorBoard: tensorboard --logdir lightning_logs
callbacks = [history, speed, *boards, SavePictures("images", sets), EMA(0.9)]
trainer = Trainer(max_steps=2, val_check_interval=2, log_every_n_steps=1, callbacks=callbacks)
trainer.fit(module, data)
trainer.test(module, data)
print(history.row(), speed.row())
