"""Makes the files of this folder: one small picture in every format and layout. The picture is a formula, so the
tests know each pixel: red = 15 x, green = 20 y, blue = 5 x + 10 y, 16 wide, 12 high.

pip install pillow numpy opencv-python-headless && python3 make.py
"""
import cv2
import numpy as np
from PIL import Image

H, W = 12, 16
y, x = np.mgrid[0:H, 0:W]
rgb = np.stack([15 * x, 20 * y, 5 * x + 10 * y], 2).astype(np.uint8)
grey = rgb[..., 0]
alpha = np.where(x < 8, 255, 17 * y + 60).astype(np.uint8)
rgba = np.dstack([rgb, alpha])
picture = Image.fromarray(rgb)

picture.save("rgb8.png", optimize=True)
Image.fromarray(rgba).save("rgba8.png")
Image.fromarray(grey).save("grey8.png")
Image.fromarray(np.dstack([grey, alpha])).save("grey8_alpha.png")
cv2.imwrite("rgb16.png", (rgb.astype(np.uint16) * 257 + 1)[..., ::-1])
cv2.imwrite("rgba16.png", np.dstack([rgb.astype(np.uint16) * 257 + 1, alpha.astype(np.uint16) * 257])[..., [2, 1, 0, 3]])
cv2.imwrite("grey16.png", grey.astype(np.uint16) * 257 + 1)
Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("1").save("grey1.png")

# Sixteen colours, one a column: palette index = x. Index 3 is fully transparent in the files that say so.
palette = Image.fromarray(x.astype(np.uint8), "P")
palette.putpalette([v for i in range(16) for v in (15 * i, 255 - 15 * i, 7 * i)])
palette.save("palette.png")
palette.save("palette_transparent.png", transparency=3)
palette.save("palette.bmp")
palette.save("palette.gif")
palette.save("palette_transparent.gif", transparency=3)
other = Image.fromarray((15 - x).astype(np.uint8), "P")
other.putpalette(palette.getpalette())
palette.save("animated.gif", save_all=True, append_images=[other], duration=50, loop=0)

picture.save("rgb24.bmp")
picture.save("lossless.webp", lossless=True)
Image.fromarray(rgba).save("lossless_alpha.webp", lossless=True, exact=True)
picture.save("lossy.webp", quality=95)
picture.save("animated.webp", save_all=True, append_images=[picture.transpose(Image.Transpose.ROTATE_180)],
             duration=50, lossless=True)

picture.save("rgb.jpg", quality=95, subsampling=0)
picture.save("rgb_420.jpg", quality=95, subsampling=2)
picture.save("progressive.jpg", quality=95, subsampling=0, progressive=True)
Image.fromarray(grey).save("grey.jpg", quality=95)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(f"orientation{orientation}.jpg", quality=95, subsampling=0, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
picture.save("orientation6.webp", lossless=True, exif=exif)
picture.save("orientation6.png", exif=exif)

# Ink with some black: c, m, y, k such that (255 - c)(255 - k)/255 is the picture.
k = np.full((H, W), 20, np.int32)
cmy = 255 - np.round(rgb.astype(np.int32) * 255 / (255 - k[..., None])).astype(np.int32)
ink = np.clip(np.dstack([cmy, k]), 0, 255).astype(np.uint8)
Image.fromarray(ink, "CMYK").save("cmyk.jpg", quality=95)
# YCCK: the same layout, with the Adobe marker's transform set to 2. What is stored are the YCbCr of the ink values c,
# m, y (libjpeg takes the YCbCr of 255 - stored, and Adobe stores 255 - ink) and 255 - k. Pillow stores 255 - value of
# each channel that it is given, so it is given 255 - what is to be stored.
stored = np.dstack([np.asarray(Image.fromarray(ink[..., :3]).convert("YCbCr")), 255 - ink[..., 3]])
Image.fromarray(255 - stored, "CMYK").save("ycck.jpg", quality=95)
data = bytearray(open("ycck.jpg", "rb").read())
data[data.index(b"Adobe") + 11] = 2
open("ycck.jpg", "wb").write(data)
