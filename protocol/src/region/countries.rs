//! The countries of ISO 3166-1 (and XK, which GeoIP tables use for Kosovo), with continent and a middle
//! point.
//!
//! Plain facts in one table, sorted by code. Continents as `GeoNames` counts them. Points are to a degree or
//! so: they only order countries by distance.

use super::Region;

/// One country.
pub(super) struct Entry {
    /// ISO 3166-1 alpha-2 code, upper case.
    pub(super) code: [u8; 2],
    /// The continent.
    pub(super) region: Region,
    /// Latitude in tenths of a degree north.
    pub(super) latitude_tenths: i16,
    /// Longitude in tenths of a degree east.
    pub(super) longitude_tenths: i16,
}

/// The country with this upper-case code.
pub(super) fn find(code: [u8; 2]) -> Option<&'static Entry> {
    let at = COUNTRIES.binary_search_by_key(&code, |entry| entry.code).ok()?;
    COUNTRIES.get(at)
}

const fn at(code: [u8; 2], region: Region, latitude_tenths: i16, longitude_tenths: i16) -> Entry {
    Entry { code, region, latitude_tenths, longitude_tenths }
}

const AF: Region = Region::AF;
const AN: Region = Region::AN;
const AS: Region = Region::AS;
const EU: Region = Region::EU;
const NA: Region = Region::NA;
const OC: Region = Region::OC;
const SA: Region = Region::SA;

/// All of them, sorted by code.
#[rustfmt::skip]
pub(super) static COUNTRIES: &[Entry] = &[
    at(*b"AD", EU, 425, 16), at(*b"AE", AS, 234, 538), at(*b"AF", AS, 339, 677), at(*b"AG", NA, 171, -618),
    at(*b"AI", NA, 182, -631), at(*b"AL", EU, 412, 202), at(*b"AM", AS, 401, 450),
    at(*b"AO", AF, -112, 179), at(*b"AQ", AN, -753, 0), at(*b"AR", SA, -346, -604),
    at(*b"AS", OC, -143, -1701), at(*b"AT", EU, 475, 146), at(*b"AU", OC, -330, 1470),
    at(*b"AW", NA, 125, -700), at(*b"AX", EU, 602, 199), at(*b"AZ", AS, 401, 476), at(*b"BA", EU, 439, 177),
    at(*b"BB", NA, 132, -595), at(*b"BD", AS, 237, 904), at(*b"BE", EU, 505, 45), at(*b"BF", AF, 122, -16),
    at(*b"BG", EU, 427, 255), at(*b"BH", AS, 260, 506), at(*b"BI", AF, -34, 299), at(*b"BJ", AF, 93, 23),
    at(*b"BL", NA, 179, -628), at(*b"BM", NA, 323, -648), at(*b"BN", AS, 45, 1147),
    at(*b"BO", SA, -163, -636), at(*b"BQ", NA, 122, -683), at(*b"BR", SA, -180, -470),
    at(*b"BS", NA, 250, -774), at(*b"BT", AS, 275, 904), at(*b"BV", AN, -544, 34),
    at(*b"BW", AF, -223, 247), at(*b"BY", EU, 537, 280), at(*b"BZ", NA, 172, -885),
    at(*b"CA", NA, 470, -790), at(*b"CC", AS, -122, 969), at(*b"CD", AF, -40, 218), at(*b"CF", AF, 66, 209),
    at(*b"CG", AF, -2, 158), at(*b"CH", EU, 468, 82), at(*b"CI", AF, 75, -55), at(*b"CK", OC, -212, -1598),
    at(*b"CL", SA, -335, -710), at(*b"CM", AF, 74, 124), at(*b"CN", AS, 330, 1130),
    at(*b"CO", SA, 46, -743), at(*b"CR", NA, 97, -838), at(*b"CU", NA, 215, -778),
    at(*b"CV", AF, 160, -240), at(*b"CW", NA, 122, -690), at(*b"CX", OC, -104, 1057),
    at(*b"CY", EU, 351, 334), at(*b"CZ", EU, 498, 155), at(*b"DE", EU, 512, 105), at(*b"DJ", AF, 118, 426),
    at(*b"DK", EU, 559, 101), at(*b"DM", NA, 154, -614), at(*b"DO", NA, 187, -702), at(*b"DZ", AF, 330, 30),
    at(*b"EC", SA, -18, -782), at(*b"EE", EU, 586, 250), at(*b"EG", AF, 290, 312),
    at(*b"EH", AF, 242, -129), at(*b"ER", AF, 152, 398), at(*b"ES", EU, 405, -37), at(*b"ET", AF, 91, 405),
    at(*b"FI", EU, 615, 251), at(*b"FJ", OC, -177, 1781), at(*b"FK", SA, -518, -595),
    at(*b"FM", OC, 69, 1582), at(*b"FO", EU, 619, -69), at(*b"FR", EU, 470, 24), at(*b"GA", AF, -8, 116),
    at(*b"GB", EU, 528, -16), at(*b"GD", NA, 121, -617), at(*b"GE", AS, 423, 434), at(*b"GF", SA, 39, -531),
    at(*b"GG", EU, 495, -26), at(*b"GH", AF, 79, -10), at(*b"GI", EU, 361, -53), at(*b"GL", NA, 645, -510),
    at(*b"GM", AF, 134, -153), at(*b"GN", AF, 99, -97), at(*b"GP", NA, 162, -615), at(*b"GQ", AF, 17, 103),
    at(*b"GR", EU, 391, 218), at(*b"GS", AN, -544, -366), at(*b"GT", NA, 158, -902),
    at(*b"GU", OC, 134, 1448), at(*b"GW", AF, 118, -152), at(*b"GY", SA, 49, -589),
    at(*b"HK", AS, 224, 1141), at(*b"HM", AN, -531, 735), at(*b"HN", NA, 152, -862),
    at(*b"HR", EU, 451, 152), at(*b"HT", NA, 190, -723), at(*b"HU", EU, 472, 195),
    at(*b"ID", AS, -65, 1090), at(*b"IE", EU, 534, -82), at(*b"IL", AS, 318, 349), at(*b"IM", EU, 542, -45),
    at(*b"IN", AS, 220, 790), at(*b"IO", AS, -63, 719), at(*b"IQ", AS, 332, 437), at(*b"IR", AS, 345, 520),
    at(*b"IS", EU, 645, -210), at(*b"IT", EU, 425, 124), at(*b"JE", EU, 492, -21),
    at(*b"JM", NA, 181, -773), at(*b"JO", AS, 315, 360), at(*b"JP", AS, 355, 1372), at(*b"KE", AF, -5, 370),
    at(*b"KG", AS, 412, 748), at(*b"KH", AS, 126, 1050), at(*b"KI", OC, 14, 1730),
    at(*b"KM", AF, -119, 439), at(*b"KN", NA, 173, -627), at(*b"KP", AS, 393, 1260),
    at(*b"KR", AS, 366, 1278), at(*b"KW", AS, 293, 477), at(*b"KY", NA, 193, -813),
    at(*b"KZ", AS, 480, 700), at(*b"LA", AS, 186, 1028), at(*b"LB", AS, 339, 359),
    at(*b"LC", NA, 139, -610), at(*b"LI", EU, 472, 96), at(*b"LK", AS, 75, 807), at(*b"LR", AF, 64, -94),
    at(*b"LS", AF, -296, 282), at(*b"LT", EU, 552, 239), at(*b"LU", EU, 498, 61), at(*b"LV", EU, 569, 246),
    at(*b"LY", AF, 320, 150), at(*b"MA", AF, 330, -68), at(*b"MC", EU, 437, 74), at(*b"MD", EU, 472, 286),
    at(*b"ME", EU, 427, 194), at(*b"MF", NA, 181, -631), at(*b"MG", AF, -188, 469),
    at(*b"MH", OC, 71, 1712), at(*b"MK", EU, 416, 217), at(*b"ML", AF, 132, -70), at(*b"MM", AS, 199, 961),
    at(*b"MN", AS, 475, 1050), at(*b"MO", AS, 222, 1135), at(*b"MP", OC, 152, 1457),
    at(*b"MQ", NA, 146, -610), at(*b"MR", AF, 181, -140), at(*b"MS", NA, 167, -622),
    at(*b"MT", EU, 359, 144), at(*b"MU", AF, -203, 576), at(*b"MV", AS, 42, 735), at(*b"MW", AF, -140, 342),
    at(*b"MX", NA, 207, -1005), at(*b"MY", AS, 37, 1022), at(*b"MZ", AF, -187, 355),
    at(*b"NA", AF, -210, 170), at(*b"NC", OC, -221, 1663), at(*b"NE", AF, 137, 60),
    at(*b"NF", OC, -290, 1680), at(*b"NG", AF, 87, 75), at(*b"NI", NA, 123, -861), at(*b"NL", EU, 521, 53),
    at(*b"NO", EU, 606, 98), at(*b"NP", AS, 279, 849), at(*b"NR", OC, -5, 1669),
    at(*b"NU", OC, -191, -1699), at(*b"NZ", OC, -392, 1748), at(*b"OM", AS, 232, 577),
    at(*b"PA", NA, 89, -797), at(*b"PE", SA, -104, -762), at(*b"PF", OC, -176, -1495),
    at(*b"PG", OC, -60, 1450), at(*b"PH", AS, 137, 1218), at(*b"PK", AS, 312, 722),
    at(*b"PL", EU, 519, 191), at(*b"PM", NA, 469, -563), at(*b"PN", OC, -251, -1301),
    at(*b"PR", NA, 182, -664), at(*b"PS", AS, 319, 352), at(*b"PT", EU, 397, -86), at(*b"PW", OC, 74, 1345),
    at(*b"PY", SA, -254, -572), at(*b"QA", AS, 254, 513), at(*b"RE", AF, -211, 555),
    at(*b"RO", EU, 459, 255), at(*b"RS", EU, 444, 208), at(*b"RU", EU, 558, 490), at(*b"RW", AF, -19, 299),
    at(*b"SA", AS, 240, 450), at(*b"SB", OC, -93, 1600), at(*b"SC", AF, -46, 555), at(*b"SD", AF, 145, 320),
    at(*b"SE", EU, 588, 162), at(*b"SG", AS, 13, 1038), at(*b"SH", AF, -159, -57), at(*b"SI", EU, 461, 148),
    at(*b"SJ", EU, 782, 157), at(*b"SK", EU, 487, 194), at(*b"SL", AF, 85, -118), at(*b"SM", EU, 439, 125),
    at(*b"SN", AF, 147, -162), at(*b"SO", AF, 42, 453), at(*b"SR", SA, 56, -552), at(*b"SS", AF, 73, 303),
    at(*b"ST", AF, 3, 67), at(*b"SV", NA, 138, -889), at(*b"SX", NA, 180, -631), at(*b"SY", AS, 345, 372),
    at(*b"SZ", AF, -265, 315), at(*b"TC", NA, 218, -721), at(*b"TD", AF, 111, 168),
    at(*b"TF", AN, -493, 693), at(*b"TG", AF, 79, 10), at(*b"TH", AS, 149, 1009), at(*b"TJ", AS, 385, 698),
    at(*b"TK", OC, -92, -1718), at(*b"TL", OC, -88, 1259), at(*b"TM", AS, 385, 600),
    at(*b"TN", AF, 357, 100), at(*b"TO", OC, -211, -1752), at(*b"TR", AS, 394, 322),
    at(*b"TT", NA, 105, -613), at(*b"TV", OC, -85, 1792), at(*b"TW", AS, 242, 1210),
    at(*b"TZ", AF, -58, 351), at(*b"UA", EU, 489, 315), at(*b"UG", AF, 8, 324), at(*b"UM", OC, 193, 1666),
    at(*b"US", NA, 375, -920), at(*b"UY", SA, -342, -560), at(*b"UZ", AS, 405, 676),
    at(*b"VA", EU, 419, 125), at(*b"VC", NA, 132, -612), at(*b"VE", SA, 98, -677),
    at(*b"VG", NA, 184, -646), at(*b"VI", NA, 180, -648), at(*b"VN", AS, 160, 1067),
    at(*b"VU", OC, -168, 1680), at(*b"WF", OC, -133, -1762), at(*b"WS", OC, -138, -1718),
    at(*b"XK", EU, 426, 209), at(*b"YE", AS, 146, 440), at(*b"YT", AF, -128, 452),
    at(*b"ZA", AF, -275, 277), at(*b"ZM", AF, -140, 282), at(*b"ZW", AF, -185, 302),
];
