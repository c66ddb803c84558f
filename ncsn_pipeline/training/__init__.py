"""Training of score networks: `accelerate launch train/train.py`, or `accelerate launch -m ncsn_pipeline.training`.

train            the loop of a training, from top to bottom; read it first
distill          the loop that makes a trained network draw in one evaluation
run_config, config, distill_config     everything a run can be told
beginning, run   what both share: how a run begins, and all that happens between its steps
training_run, distillation_run         what is each one's own
network          the network that is trained, and the pipeline that it is saved in
objective        the losses over all noise levels, and the held-out loss
matching         the updates of a distillation
batches, draws   which images and which random numbers each step gets, whatever the number of processes
averaging        the average of the weights
checkpoints      what is written, so that no moment of a crash loses anything
interruption     SIGTERM and SIGINT end a run in good order
compiling        whether a compiled network has the right gradients
distributed, process_group     what the processes decide together, and how they part
tracking, validation, pixel_quality, run_record     what a run says about itself
publishing, command_line       the model card's facts, the push to the Hub, the command that goes on
program          what the programs do around a run
"""
