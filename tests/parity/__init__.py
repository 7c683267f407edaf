"""The authors' own code and ours side by side, where checkouts are given: ``BENCH_PARITY=DIR python -m tests.parity``.

DIR holds `reco` (github.com/lorenmt/reco), `classmix` (WilhelmT/ClassMix), `cutmix-semisup-seg` (Britefury), `unimatch`
(LiheYoung/UniMatch), `torchsemiseg` (charlesCXK/TorchSemiSeg) and `u2pl` (Haochen-Wang409/U2PL), or some of them.
Their modules are imported from there,
none of them is copied; what they draw at random is replaced by our draws. Whole training scripts run as they are released,
with stand-ins for what isn't there (``stand_ins``).
"""
