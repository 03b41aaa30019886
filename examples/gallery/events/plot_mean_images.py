"""
Mean images of jets
===================

Jets as images: constituents in canonical positions, summed in pixels. The mean images of signal and background show
what a network of images can see.
"""

from jettagger.images import ImageSettings, mean_image, table_columns, table_images
from jettagger.skims.flat_jets import FlatJets
from jettagger.testing import example_path

settings = ImageSettings(
    size=32, range=0.9, channels=["all"], steps={"centre": "leading", "rotate": "second", "flip": "eta"}
)


def mean(sample):
    (chunk,) = FlatJets(example_path(f"{sample}.root")).chunks(table_columns(settings))
    return mean_image(table_images(settings, chunk.jets))


# %%
# The last panel is the difference, where it exceeds a standard deviation.
from jettagger import plots

figure = plots.mean_images({"X → HH → 4b": mean("XHH-1000"), "multijets": mean("QCD")}, title="shipped samples")
figure

# %%
# Next: ``jettagger show image`` draws this from files; :doc:`/images` has networks of images.
