//! The Linux framebuffer device (`/dev/fb0`), or any file laid out like one.
//!
//! Rows are written with `pwrite`, not through a mapping: 480 short calls a screen cost under a millisecond and a
//! display that goes away gives an error, where a mapping would end the program with SIGBUS.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::{Canvas, Display, DisplayError};

/// Bits of one colour in a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Lowest bit.
    pub offset: u32,
    /// Number of bits, 1 to 8.
    pub length: u32,
}

/// How a pixel is stored, in the machine's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat {
    /// 16 or 32.
    pub bits: u32,
    /// Red.
    pub red: Channel,
    /// Green.
    pub green: Channel,
    /// Blue.
    pub blue: Channel,
}

impl PixelFormat {
    /// 5 bits red, 6 green, 5 blue.
    pub const RGB565: Self = Self {
        bits: 16,
        red: Channel { offset: 11, length: 5 },
        green: Channel { offset: 5, length: 6 },
        blue: Channel { offset: 0, length: 5 },
    };
    /// 8 bits each, red above green above blue, the top byte unused.
    pub const XRGB8888: Self = Self {
        bits: 32,
        red: Channel { offset: 16, length: 8 },
        green: Channel { offset: 8, length: 8 },
        blue: Channel { offset: 0, length: 8 },
    };

    fn is_supported(&self) -> bool {
        let fits = |channel: Channel| (1..=8).contains(&channel.length) && channel.offset + channel.length <= self.bits;
        matches!(self.bits, 16 | 32) && [self.red, self.green, self.blue].into_iter().all(fits)
    }

    /// A pixel value of an RGB colour: the high bits of each channel.
    fn pixel(&self, rgb: &[u8]) -> u32 {
        let part = |value: u8, channel: Channel| (u32::from(value) >> (8 - channel.length)) << channel.offset;
        part(rgb[0], self.red) | part(rgb[1], self.green) | part(rgb[2], self.blue)
    }
}

/// Where pixels lie in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Visible size in pixels.
    pub size: Size,
    /// Bytes from one row to the next.
    pub stride_bytes: u32,
    /// Bytes before the first visible pixel (panning).
    pub start_bytes: u64,
    /// How a pixel is stored.
    pub format: PixelFormat,
}

/// A framebuffer that is open for writing.
#[derive(Debug)]
pub struct FramebufferDisplay {
    path: PathBuf,
    file: File,
    geometry: Geometry,
    /// One row in the device's format, reused.
    row: Vec<u8>,
}

impl FramebufferDisplay {
    /// Opens a device and asks it for its geometry.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DisplayError> {
        let path = path.as_ref();
        let file = open_for_writing(path)?;
        let geometry = ask_geometry(&file, path)?;
        Self::new(path, file, geometry)
    }

    /// Opens a plain file, or a device whose driver does not tell, with a known geometry.
    pub fn with_geometry(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, DisplayError> {
        let path = path.as_ref();
        Self::new(path, open_for_writing(path)?, geometry)
    }

    fn new(path: &Path, file: File, geometry: Geometry) -> Result<Self, DisplayError> {
        let row_bytes = u64::from(geometry.size.width) * u64::from(geometry.format.bits / 8);
        if !geometry.format.is_supported() || row_bytes > u64::from(geometry.stride_bytes) {
            return Err(DisplayError::PixelFormat {
                path: path.to_owned(),
                found: format!("{geometry:?}"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            geometry,
            row: Vec::with_capacity(row_bytes as usize),
        })
    }

    /// Where pixels lie in the device.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn write_area(&mut self, canvas: &Canvas, area: Rectangle) -> std::io::Result<()> {
        let Geometry {
            stride_bytes,
            start_bytes,
            format,
            ..
        } = self.geometry;
        let pixel_bytes = u64::from(format.bits / 8);
        let (left, top) = (area.top_left.x as u32, area.top_left.y as u32);
        for y in top..top + area.size.height {
            self.row.clear();
            let pixels = canvas
                .row(y, left, area.size.width)
                .chunks_exact(3)
                .map(|rgb| format.pixel(rgb));
            if format.bits == 16 {
                self.row.extend(pixels.flat_map(|pixel| (pixel as u16).to_ne_bytes()));
            } else {
                self.row.extend(pixels.flat_map(u32::to_ne_bytes));
            }
            let offset = start_bytes + u64::from(y) * u64::from(stride_bytes) + u64::from(left) * pixel_bytes;
            self.file.write_all_at(&self.row, offset)?;
        }
        Ok(())
    }
}

impl Display for FramebufferDisplay {
    fn describe(&self) -> String {
        let Size { width, height } = self.geometry.size;
        format!(
            "framebuffer {}, {width} x {height}, {} bit",
            self.path.display(),
            self.geometry.format.bits
        )
    }

    fn size(&self) -> Size {
        self.geometry.size
    }

    fn flush(&mut self, canvas: &Canvas, dirty: &[Rectangle]) -> Result<(), DisplayError> {
        let common = self.geometry.size.component_min(canvas.size());
        let visible = Rectangle::new(Point::zero(), common);
        for area in dirty {
            self.write_area(canvas, area.intersection(&visible))
                .map_err(|source| DisplayError::Io {
                    path: self.path.clone(),
                    action: "write",
                    source,
                })?;
        }
        Ok(())
    }
}

fn open_for_writing(path: &Path) -> Result<File, DisplayError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| DisplayError::Io {
            path: path.to_owned(),
            action: "open",
            source,
        })
}

/// `struct fb_bitfield` of linux/fb.h.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Bitfield {
    offset: u32,
    length: u32,
    msb_right: u32,
}

/// `struct fb_var_screeninfo` of linux/fb.h.
#[repr(C)]
#[derive(Default)]
struct VariableInfo {
    width: u32,
    height: u32,
    virtual_width: u32,
    virtual_height: u32,
    x_offset: u32,
    y_offset: u32,
    bits_per_pixel: u32,
    grayscale: u32,
    red: Bitfield,
    green: Bitfield,
    blue: Bitfield,
    transparency: Bitfield,
    rest: [u32; 20],
}

/// `struct fb_fix_screeninfo` of linux/fb.h.
#[repr(C)]
#[derive(Default)]
struct FixedInfo {
    id: [u8; 16],
    memory_start: libc::c_ulong,
    memory_length: u32,
    kind: u32,
    kind_auxiliary: u32,
    visual: u32,
    x_pan_step: u16,
    y_pan_step: u16,
    y_wrap_step: u16,
    line_length: u32,
    registers_start: libc::c_ulong,
    registers_length: u32,
    acceleration: u32,
    capabilities: u16,
    reserved: [u16; 2],
}

/// `FBIOGET_VSCREENINFO` of linux/fb.h.
const GET_VARIABLE_INFO: libc::c_ulong = 0x4600;
/// `FBIOGET_FSCREENINFO` of linux/fb.h.
const GET_FIXED_INFO: libc::c_ulong = 0x4602;

fn ask_geometry(file: &File, path: &Path) -> Result<Geometry, DisplayError> {
    let failed = |source| DisplayError::Io {
        path: path.to_owned(),
        action: "ask for its size",
        source,
    };
    let mut variable = VariableInfo::default();
    let mut fixed = FixedInfo::default();
    // SAFETY: the descriptor is open, and each structure has the size and layout that the request fills (linux/fb.h).
    let asked = unsafe {
        libc::ioctl(file.as_raw_fd(), GET_VARIABLE_INFO as _, &raw mut variable) == 0
            && libc::ioctl(file.as_raw_fd(), GET_FIXED_INFO as _, &raw mut fixed) == 0
    };
    if !asked {
        return Err(failed(std::io::Error::last_os_error()));
    }
    Ok(geometry_of(&variable, &fixed))
}

fn geometry_of(variable: &VariableInfo, fixed: &FixedInfo) -> Geometry {
    let channel = |field: Bitfield| Channel {
        offset: field.offset,
        length: field.length,
    };
    let pixel_bytes = u64::from(variable.bits_per_pixel / 8);
    Geometry {
        size: Size::new(variable.width, variable.height),
        stride_bytes: fixed.line_length,
        start_bytes: u64::from(variable.y_offset) * u64::from(fixed.line_length)
            + u64::from(variable.x_offset) * pixel_bytes,
        format: PixelFormat {
            bits: variable.bits_per_pixel,
            red: channel(variable.red),
            green: channel(variable.green),
            blue: channel(variable.blue),
        },
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::pixelcolor::Rgb888;
    use embedded_graphics::prelude::*;

    use super::*;
    use crate::display::present;

    /// A file of `bytes` bytes, all 0xEE, so that a byte that must not be touched shows.
    fn device(bytes: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fb0");
        std::fs::write(&path, vec![0xEE; bytes]).expect("a file");
        (folder, path)
    }

    #[test]
    fn sixteen_bit_pixels_lie_at_their_stride() {
        let (_folder, path) = device(4 * 20);
        let geometry = Geometry {
            size: Size::new(6, 4),
            stride_bytes: 20,
            start_bytes: 0,
            format: PixelFormat::RGB565,
        };
        let mut display = FramebufferDisplay::with_geometry(&path, geometry).expect("open");
        let mut canvas = Canvas::new(Size::new(6, 4));
        canvas.clear(Rgb888::new(255, 0, 0)).expect("infallible");
        canvas
            .draw_iter([Pixel(Point::new(1, 2), Rgb888::new(8, 4, 255))])
            .expect("infallible");
        present(&mut canvas, &mut display).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        let pixel = |x: usize, y: usize| u16::from_ne_bytes([bytes[y * 20 + x * 2], bytes[y * 20 + x * 2 + 1]]);
        assert_eq!(pixel(0, 0), 0xF800);
        assert_eq!(pixel(5, 3), 0xF800);
        assert_eq!(pixel(1, 2), (1 << 11) | (1 << 5) | 31);
        assert_eq!(bytes[12..20], [0xEE; 8], "nothing beyond the visible width");
    }

    #[test]
    fn only_dirty_areas_are_written_in_32_bit_with_panning() {
        let start = 64;
        let (_folder, path) = device(start + 5 * 40);
        let geometry = Geometry {
            size: Size::new(10, 5),
            stride_bytes: 40,
            start_bytes: start as u64,
            format: PixelFormat::XRGB8888,
        };
        let mut display = FramebufferDisplay::with_geometry(&path, geometry).expect("open");
        let mut canvas = Canvas::new(Size::new(10, 5));
        canvas.clean();
        let area = Rectangle::new(Point::new(3, 1), Size::new(2, 2));
        canvas
            .fill_solid(&area, Rgb888::new(0x12, 0x34, 0x56))
            .expect("infallible");
        present(&mut canvas, &mut display).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        for (index, pixel) in bytes[start..].chunks_exact(4).enumerate() {
            let (x, y) = (index % 10, index / 10);
            let inside = (3..5).contains(&x) && (1..3).contains(&y);
            let expected = if inside { 0x0012_3456_u32 } else { 0xEEEE_EEEE };
            assert_eq!(
                u32::from_ne_bytes(pixel.try_into().expect("4 bytes")),
                expected,
                "{x} {y}"
            );
        }
        assert!(bytes[..start].iter().all(|&byte| byte == 0xEE));
    }

    #[test]
    fn larger_canvas_is_clipped_to_the_device() {
        let (_folder, path) = device(3 * 8);
        let geometry = Geometry {
            size: Size::new(4, 3),
            stride_bytes: 8,
            start_bytes: 0,
            format: PixelFormat::RGB565,
        };
        let mut display = FramebufferDisplay::with_geometry(&path, geometry).expect("open");
        present(&mut Canvas::new(Size::new(9, 9)), &mut display).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), [0; 24]);
    }

    #[test]
    fn plain_file_and_odd_formats_are_refused_with_the_path() {
        let (_folder, path) = device(64);
        let error = FramebufferDisplay::open(&path).expect_err("not a framebuffer");
        assert!(
            matches!(
                error,
                DisplayError::Io {
                    action: "ask for its size",
                    ..
                }
            ),
            "{error}"
        );
        let odd = PixelFormat {
            bits: 8,
            ..PixelFormat::RGB565
        };
        let geometry = Geometry {
            size: Size::new(4, 3),
            stride_bytes: 8,
            start_bytes: 0,
            format: odd,
        };
        let error = FramebufferDisplay::with_geometry(&path, geometry).expect_err("palette");
        assert!(error.to_string().contains("16 or 32 bits"), "{error}");
        let error = FramebufferDisplay::open(path.with_file_name("fb7")).expect_err("absent");
        assert!(error.to_string().contains("fb7"), "{error}");
    }

    #[test]
    fn kernel_structures_have_the_kernels_size() {
        // On 64 bit: sizeof of linux/fb.h, as the ioctl writes them.
        assert_eq!(size_of::<VariableInfo>(), 160);
        if size_of::<usize>() == 8 {
            assert_eq!(size_of::<FixedInfo>(), 80);
        }
        let blue_first = Bitfield {
            offset: 16,
            length: 8,
            msb_right: 0,
        };
        let variable = VariableInfo {
            width: 800,
            height: 480,
            x_offset: 2,
            y_offset: 480,
            bits_per_pixel: 32,
            blue: blue_first,
            ..VariableInfo::default()
        };
        let geometry = geometry_of(
            &variable,
            &FixedInfo {
                line_length: 3328,
                ..FixedInfo::default()
            },
        );
        assert_eq!(geometry.start_bytes, 480 * 3328 + 8);
        assert_eq!(geometry.format.blue, Channel { offset: 16, length: 8 });
    }
}
