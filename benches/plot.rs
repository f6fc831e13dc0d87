//! Figures as pictures: SVG, on white.

use std::{fs, io, path::Path};

use plotters::{
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    prelude::{
        Circle, DrawingArea, DrawingAreaErrorKind, DrawingBackend, IntoDrawingArea, IntoLogRange,
        LineSeries, PathElement, RGBColor, Rectangle, SVGBackend,
    },
    style::{Color, IntoFont, TextStyle},
};

const SIZE: (u32, u32) = (800, 420);
const FONT: &str = "sans-serif";
/// Told apart also by those who see few colours (Okabe and Ito), and on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const WHITE: RGBColor = RGBColor(255, 255, 255);
const BLACK: RGBColor = RGBColor(0, 0, 0);

/// How an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// From nothing on.
    Linear,
    /// By powers of ten. Values have to be above nothing.
    Logarithmic,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Shown in the legend.
    pub(crate) name: String,
    /// By x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over a common x.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// Above it.
    pub(crate) title: String,
    /// What x is, with its unit.
    pub(crate) x: String,
    /// What y is, with its unit.
    pub(crate) y: String,
    /// Of both axes.
    pub(crate) axis: Axis,
    /// From one to six lines.
    pub(crate) series: Vec<Line>,
}

/// One bar for each member of each group.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    /// Above it.
    pub(crate) title: String,
    /// What the height is, with its unit.
    pub(crate) y: String,
    /// Shown in the legend.
    pub(crate) members: Vec<String>,
    /// Name, and a height for each member; one that was not measured has none.
    pub(crate) groups: Vec<(String, Vec<Option<f64>>)>,
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Lines {
    /// Writes the picture.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        draw(path, |area| match self.axis {
            Axis::Linear => {
                let (x, y) = self.ends(0.0);
                self.on(area, x, y)
            }
            Axis::Logarithmic => {
                let (x, y) = self.ends(f64::MAX);
                self.on(area, x.log_scale(), y.log_scale())
            }
        })
    }

    /// From the least value, or `from` where that is less, to the greatest.
    fn ends(&self, from: f64) -> (std::ops::Range<f64>, std::ops::Range<f64>) {
        let points = || self.series.iter().flat_map(|line| &line.points);
        let x = points().map(|it| it.0);
        let y = points().map(|it| it.1);
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(from, f64::min);
        let greatest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let start = |least: f64| if least > 0.0 { least * 0.8 } else { least };
        (
            start(least(&mut x.clone()))..greatest(&mut x.clone()) * 1.05,
            start(least(&mut y.clone()))..greatest(&mut y.clone()) * 1.15,
        )
    }

    fn on<'a, X, Y>(&self, area: &Area<'a>, x: X, y: Y) -> Drawn<'a>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = builder(area, &self.title).build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .label_style(text(13))
            .axis_desc_style(text(14))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .draw()?;
        for (line, colour) in self.series.iter().zip(COLOURS) {
            let points = || line.points.iter().copied();
            let drawn = chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
            drawn
                .label(line.name.clone())
                .legend(move |at| swatch(at, colour));
            if line.points.len() <= 40 {
                let dot = |point| Circle::new(point, 3, colour.filled());
                chart.draw_series(points().map(dot))?;
            }
        }
        legend(&mut chart, self.series.len())
    }
}

impl Bars {
    /// Writes the picture.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        draw(path, |area| self.on(area))
    }

    fn on<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let heights = self.groups.iter().flat_map(|(_, heights)| heights);
        let highest = heights.flatten().copied().fold(0.0, f64::max);
        let groups = f64::from(small(self.groups.len()));
        let mut chart =
            builder(area, &self.title).build_cartesian_2d(0.0..groups, 0.0..highest * 1.35)?;
        let name = |x: &f64| {
            let group = self
                .groups
                .iter()
                .enumerate()
                .find(|(index, _)| (f64::from(small(*index)) + 0.5 - x).abs() < 0.01);
            group.map_or_else(String::new, |(_, (name, _))| name.clone())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            // The middle of each group is one of these.
            .x_labels(2 * self.groups.len() + 1)
            .x_label_formatter(&name)
            .y_label_formatter(&|y| number(*y))
            .y_desc(&self.y)
            .label_style(text(13))
            .axis_desc_style(text(14))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .draw()?;
        let width = 0.8 / f64::from(small(self.members.len().max(1)));
        for (member, (label, colour)) in self.members.iter().zip(COLOURS).enumerate() {
            let bars = self.groups.iter().enumerate().filter_map(|(group, it)| {
                let height = it.1.get(member).copied().flatten()?;
                let left = f64::from(small(group)) + 0.1 + width * f64::from(small(member));
                let corners = [(left, 0.0), (left + width * 0.92, height)];
                Some(Rectangle::new(corners, colour.filled()))
            });
            let drawn = chart.draw_series(bars)?;
            drawn
                .label(label.clone())
                .legend(move |at| swatch(at, colour));
        }
        legend(&mut chart, self.members.len())
    }
}

fn draw<'a>(path: &'a Path, picture: impl FnOnce(&Area<'a>) -> Drawn<'a>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = area
        .fill(&WHITE)
        .and_then(|()| picture(&area))
        .and_then(|()| area.present());
    drawn.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn builder<'a, 'b>(area: &'b Area<'a>, title: &str) -> ChartBuilder<'b, 'b, SVGBackend<'a>>
where
    'a: 'b,
{
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(title, text(18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72);
    builder
}

fn legend<'a, 'c, X, Y>(
    chart: &mut ChartContext<'c, SVGBackend<'a>, Cartesian2d<X, Y>>,
    entries: usize,
) -> Drawn<'a>
where
    'a: 'c,
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    if entries < 2 {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .label_font(text(13))
        .draw()
}

fn swatch(at: (i32, i32), colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([at, (at.0 + 18, at.1)], colour.stroke_width(4))
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().into()
}

/// As short as it can be told.
fn number(value: f64) -> String {
    match value.abs() {
        it if it >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        it if it >= 1e4 => format!("{} k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let digits = if value.abs() < 1.0 { 3 } else { 1 };
    let text = format!("{value:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
