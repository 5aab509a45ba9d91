//! Regions, countries and points on the globe: where a node or a reader is, and how far apart two of them
//! are.
//!
//! Facts and geometry only. It never looks an address up: the caller asks a GeoIP table and passes on what
//! that said.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

mod countries;

/// Mean radius of the earth in kilometres (IUGG R1).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Longest name of a region in bytes.
pub const REGION_LEN_MAX: usize = 16;

/// A region: a continent code (`eu`, `na`, `sa`, `as`, `af`, `oc`, `an`), possibly with a part (`eu-west`).
///
/// Operators may make up further names; only those that [`Region::centroid`] knows take part in "nearest".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region([u8; REGION_LEN_MAX]);

/// A text that is no [`Region`] or no [`Country`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ParsePlaceError(&'static str);

/// An ISO 3166-1 country code: two upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// A point on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// Degrees north of the equator, -90..=90.
    pub latitude: f64,
    /// Degrees east of Greenwich, -180..=180.
    pub longitude: f64,
}

/// Where somebody is, as exactly as is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The region; it decides who serves whom.
    pub region: Region,
    /// The country, if known.
    pub country: Option<Country>,
    /// The point, if known.
    pub coordinates: Option<Coordinates>,
}

// Points near the middle of each region's people and data centres, to a degree: enough to order regions by
// distance.
const CENTROIDS: &[(Region, f64, f64)] = &[
    (Region::AF, 5.0, 20.0),
    (Region::AN, -80.0, 0.0),
    (Region::AS, 22.0, 108.0),
    (Region::EU, 50.0, 10.0),
    (Region::NA, 40.0, -88.0),
    (Region::OC, -31.0, 148.0),
    (Region::SA, -15.0, -58.0),
    (Region::constant("af-east"), 0.0, 37.0),
    (Region::constant("af-north"), 31.0, 10.0),
    (Region::constant("af-south"), -28.0, 27.0),
    (Region::constant("af-west"), 8.0, 2.0),
    (Region::constant("as-central"), 43.0, 69.0),
    (Region::constant("as-east"), 35.0, 122.0),
    (Region::constant("as-south"), 21.0, 79.0),
    (Region::constant("as-southeast"), 6.0, 107.0),
    (Region::constant("as-west"), 29.0, 46.0),
    (Region::constant("eu-central"), 50.0, 12.0),
    (Region::constant("eu-east"), 52.0, 32.0),
    (Region::constant("eu-north"), 60.0, 16.0),
    (Region::constant("eu-south"), 41.0, 12.0),
    (Region::constant("eu-west"), 50.0, 1.0),
    (Region::constant("na-central"), 40.0, -94.0),
    (Region::constant("na-east"), 40.0, -77.0),
    (Region::constant("na-south"), 18.0, -95.0),
    (Region::constant("na-west"), 39.0, -120.0),
    (Region::constant("sa-east"), -22.0, -46.0),
    (Region::constant("sa-north"), 5.0, -72.0),
    (Region::constant("sa-south"), -34.0, -62.0),
];

impl Region {
    /// Africa.
    pub const AF: Self = Self::constant("af");
    /// Antarctica.
    pub const AN: Self = Self::constant("an");
    /// Asia.
    pub const AS: Self = Self::constant("as");
    /// Europe.
    pub const EU: Self = Self::constant("eu");
    /// North and Central America and the Caribbean.
    pub const NA: Self = Self::constant("na");
    /// Oceania.
    pub const OC: Self = Self::constant("oc");
    /// South America.
    pub const SA: Self = Self::constant("sa");

    /// A region from text known at compile time; only for names that [`FromStr`] accepts, as a test checks.
    const fn constant(text: &str) -> Self {
        let mut name = [0; REGION_LEN_MAX];
        let mut at = 0;
        while at < text.len() {
            name[at] = text.as_bytes()[at];
            at += 1;
        }
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(REGION_LEN_MAX);
        // Only ASCII gets in, so the fallback is never taken.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }

    /// The region without its part: `eu` of `eu-west`, itself when it has none.
    #[must_use]
    pub fn continent(&self) -> Self {
        let mut name = self.0;
        if let Some(dash) = name.iter().position(|&byte| byte == b'-') {
            name[dash..].fill(0);
        }
        Self(name)
    }

    /// A point that stands for the region: its own if it is a known one, otherwise its continent's.
    pub fn centroid(&self) -> Option<Coordinates> {
        let find = |wanted: Self| CENTROIDS.iter().find(|(region, ..)| *region == wanted);
        let (_, latitude, longitude) = find(*self).or_else(|| find(self.continent()))?;
        Some(Coordinates { latitude: *latitude, longitude: *longitude })
    }
}

impl FromStr for Region {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let ok = text.len() <= REGION_LEN_MAX
            && text.bytes().all(plain)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        if ok {
            Ok(Self::constant(text))
        } else {
            Err(ParsePlaceError("a region such as \"eu\" or \"eu-west\""))
        }
    }
}

impl Country {
    /// The country with this code; letters of either case.
    pub fn new(code: [u8; 2]) -> Option<Self> {
        let code = code.map(|letter| letter.to_ascii_uppercase());
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The continent it is counted to, as `GeoNames` does; `None` for a code that is not in use.
    pub fn region(&self) -> Option<Region> {
        countries::find(self.0).map(|entry| entry.region)
    }

    /// A point near its middle (of the people rather than the land, for the largest countries).
    pub fn centroid(&self) -> Option<Coordinates> {
        countries::find(self.0).map(|entry| Coordinates {
            latitude: f64::from(entry.latitude_tenths) / 10.0,
            longitude: f64::from(entry.longitude_tenths) / 10.0,
        })
    }
}

impl FromStr for Country {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.as_bytes().try_into().ok().and_then(Self::new);
        code.ok_or(ParsePlaceError("a country code of two letters"))
    }
}

/// The region of a reader or a node from what GeoIP says: by its country, else by its continent code.
///
/// The country comes first so that every party maps the same country to the same region.
pub fn region_of(country: Option<Country>, continent: Option<&str>) -> Option<Region> {
    let by_continent = || {
        let region: Region = continent?.to_ascii_lowercase().parse().ok()?;
        CENTROIDS.iter().any(|(known, ..)| *known == region).then_some(region)
    };
    country.and_then(|country| country.region()).or_else(by_continent)
}

impl Coordinates {
    /// A point, if the numbers are possible.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let ok = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        ok.then_some(Self { latitude, longitude })
    }

    /// Great-circle distance in kilometres (haversine formula, which stays exact for near points).
    pub fn distance_km(self, other: Self) -> f64 {
        let (lat_a, lat_b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_lat = (lat_b - lat_a) / 2.0;
        let half_lon = (other.longitude - self.longitude).to_radians() / 2.0;
        let h = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * h.min(1.0).sqrt().asin()
    }
}

impl Place {
    /// Somewhere in a region.
    pub fn of_region(region: Region) -> Self {
        Self { region, country: None, coordinates: None }
    }

    /// Somewhere in a country.
    pub fn of_country(country: Country) -> Option<Self> {
        Some(Self { region: country.region()?, country: Some(country), coordinates: None })
    }

    /// The best point known for it: its own, else the middle of its country, else of its region.
    pub fn point(&self) -> Option<Coordinates> {
        let country = || self.country.and_then(|country| country.centroid());
        self.coordinates.or_else(country).or_else(|| self.region.centroid())
    }

    /// Distance to another place in kilometres, as well as both are known.
    pub fn distance_km(&self, other: &Self) -> Option<f64> {
        Some(self.point()?.distance_km(other.point()?))
    }
}

/// Orders regions for a reader: its own first, then by distance from it to their centroids, unknown ones
/// last.
pub fn sort_by_distance(from: &Place, regions: &mut [Region]) {
    let point = from.point();
    let distance = |region: &Region| -> f64 {
        if *region == from.region {
            return -1.0;
        }
        let known = point.zip(region.centroid());
        known.map_or(f64::INFINITY, |(here, there)| here.distance_km(there))
    };
    regions.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.cmp(b)));
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Region);
as_text!(Country);

#[cfg(test)]
mod tests;
