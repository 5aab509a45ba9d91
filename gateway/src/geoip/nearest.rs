//! The region nearest to a point: for records that give coordinates and neither country nor continent.
//!
//! A guess by the middles of countries, which is wrong near borders; it never overrules a country that is known.

use protocol::region::{Coordinates, Country, Region};

/// The middles of all countries as unit vectors, so that the nearest is the one with the largest dot product.
pub(super) struct NearestRegion(Vec<([f64; 3], Region)>);

impl NearestRegion {
    /// Builds the table: some 250 entries.
    pub(super) fn new() -> Self {
        let codes = (b'A'..=b'Z').flat_map(|first| (b'A'..=b'Z').map(move |second| [first, second]));
        let countries = codes.filter_map(Country::new);
        Self(countries.filter_map(|country| Some((unit(country.centroid()?), country.region()?))).collect())
    }

    /// The region of the country whose middle is nearest.
    pub(super) fn of(&self, point: Coordinates) -> Option<Region> {
        let [x, y, z] = unit(point);
        let closeness = |(there, _): &&([f64; 3], Region)| x * there[0] + y * there[1] + z * there[2];
        let nearest = self.0.iter().max_by(|a, b| closeness(a).total_cmp(&closeness(b)))?;
        Some(nearest.1)
    }
}

fn unit(point: Coordinates) -> [f64; 3] {
    let (latitude, longitude) = (point.latitude.to_radians(), point.longitude.to_radians());
    let around = latitude.cos();
    [around * longitude.cos(), around * longitude.sin(), latitude.sin()]
}
