//! Writing a small GeoIP database: for a whole network on one machine, where loopback addresses stand for regions, and
//! for tests. It is no tool for making databases of the real world.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use ipnet::{IpNet, Ipv4Net};
use mmdb_writer::{Value, Writer};
use protocol::region::{Coordinates, Country, Place};

/// Most regions that [`dev_ranges`] knows.
pub const DEV_REGIONS_MAX: usize = DEV_CITIES.len();

/// Country, latitude and longitude of the city that stands for each region: Frankfurt, Ashburn, Singapore, São Paulo,
/// Sydney, Johannesburg. Where data centres are; to a tenth of a degree.
const DEV_CITIES: [(&str, f64, f64); 6] = [
    ("DE", 50.1, 8.7),
    ("US", 39.0, -77.5),
    ("SG", 1.4, 103.8),
    ("BR", -23.5, -46.6),
    ("AU", -33.9, 151.2),
    ("ZA", -26.2, 28.0),
];

/// Why a database was not written. A file that was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteDatabaseError {
    /// A range or a value does not fit the format.
    #[error("geoip database cannot be built: {0}")]
    Build(#[from] mmdb_writer::Error),
    /// The file could not be written.
    #[error("geoip database {path} cannot be written: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The loopback ranges of a network on one machine: `127.1.0.0/16` in `eu`, `127.2.0.0/16` in `na`, `127.3.0.0/16` in
/// `as`, then `sa`, `oc`, `af`; at most [`DEV_REGIONS_MAX`] of them. `127.0.0.1` itself is nowhere.
pub fn dev_ranges(regions: usize) -> Vec<(IpNet, Place)> {
    let cities = DEV_CITIES.iter().zip(1_u8..).take(regions);
    cities
        .filter_map(|(&(code, latitude, longitude), number)| {
            let country: Country = code.parse().ok()?;
            let coordinates = Coordinates::new(latitude, longitude);
            let range = Ipv4Net::new([127, number, 0, 0].into(), 16).ok()?;
            Some((range.into(), Place { coordinates, ..Place::of_country(country)? }))
        })
        .collect()
}

/// Writes a database of the shape of `MaxMind`'s City with one record for each range, the narrower range winning.
///
/// The file appears whole or not at all, and the same ranges give the same bytes. A region is written as its continent;
/// on reading, a country's own region comes before it.
pub fn write_dev_database(path: &Path, ranges: &[(IpNet, Place)]) -> Result<(), WriteDatabaseError> {
    let bytes = encode(ranges.iter().map(|(range, place)| (*range, city_record(place))))?;
    replace_file(path, &bytes).map_err(|cause| WriteDatabaseError::Write { path: path.to_owned(), cause })
}

/// The bytes of a database of these records.
pub(super) fn encode(records: impl Iterator<Item = (IpNet, Value)>) -> Result<Vec<u8>, mmdb_writer::Error> {
    let mut records: Vec<_> = records.collect();
    // The last record to be inserted wins, so the narrowest goes last.
    records.sort_by_key(|(range, _)| range.prefix_len());
    let mut writer = Writer::builder("Pinstripe-Dev-City")
        .description(&[("en", "Made-up places of loopback addresses")])
        .build_epoch(UNIX_EPOCH)
        .build();
    for (range, record) in records {
        writer.insert_value(range, record)?;
    }
    writer.to_bytes()
}

fn city_record(place: &Place) -> Value {
    let continent = place.region.continent().as_str().to_ascii_uppercase();
    let mut fields = vec![("continent", Value::map([("code", continent)]))];
    if let Some(country) = place.country {
        fields.push(("country", Value::map([("iso_code", country.as_str())])));
    }
    if let Some(point) = place.coordinates {
        let location = [("latitude", point.latitude), ("longitude", point.longitude)];
        fields.push(("location", Value::map(location)));
    }
    Value::map(fields)
}

/// Puts `bytes` at `path` by way of a file beside it, so that a reader finds the old content or the new.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Err(io::Error::other("not the path of a file")) };
    // The process id keeps two processes that write the same database apart.
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(format!(".{}.tmp", std::process::id()));
    let aside = path.with_file_name(aside);
    let written = write_synced(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // What is left is of no use; that it cannot be removed matters less than why it was not written.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
