//! One record of a GeoIP database, in either of the two shapes in use, and the place it means.
//!
//! Nested, as `MaxMind` and `DB-IP` publish (`country.iso_code`, `continent.code`, `location.latitude`), and flat
//! (`country_code`, `continent_code`, `latitude`). Texts are borrowed from the database: decoding allocates nothing.

use std::fmt;

use protocol::region::{Coordinates, Country, Place, region_of};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::nearest::NearestRegion;

/// The fields that say where; whatever else a record holds is skipped.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow, default)]
    country: Code<'a>,
    #[serde(borrow, default)]
    country_code: Code<'a>,
    #[serde(borrow, default)]
    continent: Code<'a>,
    #[serde(borrow, default)]
    continent_code: Code<'a>,
    #[serde(default)]
    location: Location,
    #[serde(default, alias = "lat")]
    latitude: Degrees,
    #[serde(default, alias = "lng")]
    longitude: Degrees,
}

/// The nested form of coordinates.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Degrees,
    longitude: Degrees,
}

/// A code as bare text, or the one inside a map. Flat databases also put a *name* here; a name parses as no code.
#[derive(Clone, Copy, Default)]
struct Code<'a>(Option<&'a str>);

/// A number of degrees: a double, a float, a whole number or text, as databases differ.
#[derive(Clone, Copy, Default)]
struct Degrees(Option<f64>);

impl Record<'_> {
    /// The place, if the record says enough to tell the region.
    pub(super) fn place(&self, nearest: &NearestRegion) -> Option<Place> {
        let codes = [self.country_code, self.country];
        let country = codes.iter().find_map(|code| known_country(code.0?));
        let coordinates = point(self.location.latitude, self.location.longitude)
            .or_else(|| point(self.latitude, self.longitude));
        let continents = [self.continent_code, self.continent];
        let region = region_of(country, None)
            .or_else(|| continents.iter().find_map(|code| region_of(None, code.0)))
            .or_else(|| nearest.of(coordinates?))?;
        Some(Place { region, country, coordinates })
    }
}

/// Codes that are no country (`ZZ` for unknown, `AP`, `EU`) leave the word to the continent.
fn known_country(code: &str) -> Option<Country> {
    code.parse::<Country>().ok().filter(|country| country.region().is_some())
}

/// Some databases write 0, 0 for "unknown". That point is open sea, so nobody is lost by taking it so.
fn point(latitude: Degrees, longitude: Degrees) -> Option<Coordinates> {
    let point = Coordinates::new(latitude.0?, longitude.0?)?;
    (point.latitude != 0.0 || point.longitude != 0.0).then_some(point)
}

impl<'de: 'a, 'a> Deserialize<'de> for Code<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CodeVisitor).map(Code)
    }
}

struct CodeVisitor;

/// `iso_code` is what a country's map calls it, `code` a continent's.
#[derive(Deserialize)]
struct Codes<'a> {
    #[serde(borrow, default)]
    iso_code: Option<&'a str>,
    #[serde(borrow, default)]
    code: Option<&'a str>,
}

impl<'de> Visitor<'de> for CodeVisitor {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a code or a map with one")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let codes = Codes::deserialize(MapAccessDeserializer::new(map))?;
        Ok(codes.iso_code.or(codes.code))
    }
}

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DegreesVisitor).map(Degrees)
    }
}

struct DegreesVisitor;

impl Visitor<'_> for DegreesVisitor {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of degrees")
    }

    fn visit_f64<E: Error>(self, degrees: f64) -> Result<Self::Value, E> {
        Ok(Some(degrees))
    }

    // A degree that matters is within 180 and so exact; any other is refused as a coordinate later.
    fn visit_u64<E: Error>(self, degrees: u64) -> Result<Self::Value, E> {
        Ok(Some(degrees as f64))
    }

    fn visit_i64<E: Error>(self, degrees: i64) -> Result<Self::Value, E> {
        Ok(Some(degrees as f64))
    }

    fn visit_str<E: Error>(self, degrees: &str) -> Result<Self::Value, E> {
        Ok(degrees.trim().parse().ok())
    }
}
