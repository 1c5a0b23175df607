// Writes TC strings with IAB's own encoder, and what each must come to, as JSON on stdout.
//
// What a string means for one of the vendors in ASKED is worked out here from the encoder's model alone, so that the
// test compares two readings that share no code. `allows` of a case is written down by hand, and must agree.
import {GVL, PurposeRestriction, RestrictionType, Segment, TCModel, TCString} from '@iabtcf/core';

const ASKED = [0, 7, 10, 755];
const PERSONAL = [1, 3, 4];
const WHEN = new Date('2026-03-02T00:00:00Z');
const {NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LI} = RestrictionType;
const {CORE, VENDORS_DISCLOSED, VENDORS_ALLOWED, PUBLISHER_TC} = Segment;

const named = (count) => Object.fromEntries(
  Array.from({length: count}, (_, i) => [i + 1, {id: i + 1, name: `n${i + 1}`, description: '', illustrations: []}]),
);

// A vendor list of our own. Every fifth vendor relies on legitimate interest too, and all are flexible.
const list = (vendors, policy, version) => ({
  gvlSpecificationVersion: 3,
  vendorListVersion: version,
  tcfPolicyVersion: policy,
  lastUpdated: '2026-02-26T16:00:00Z',
  purposes: named(11),
  specialPurposes: named(3),
  features: named(3),
  specialFeatures: named(2),
  stacks: {},
  dataCategories: {},
  vendors: Object.fromEntries(vendors.map((id) => [id, {
    id,
    name: `vendor ${id}`,
    purposes: [1, 3, 4],
    legIntPurposes: id % 5 === 0 ? [2, 7, 9, 10] : [],
    flexiblePurposes: id % 5 === 0 ? [2, 7, 9, 10] : [3, 4],
    specialPurposes: [],
    features: [],
    specialFeatures: [],
    policyUrl: '',
    urls: [],
  }])),
});

const span = (from, to, step = 1) => Array.from({length: Math.floor((to - from) / step) + 1}, (_, i) => from + i * step);
const all = span(1, 1200);
const without = (ids, ...out) => ids.filter((id) => !out.includes(id));
const ALL_PURPOSES = span(1, 11);

// name, what differs from the usual, and who may personalise by it ([] nobody; 0 is "no vendor is asked about").
const CASES = [
  // Purposes: all of 1, 3 and 4 are needed.
  ['everything, 2.0', {policy: 2}, ASKED],
  ['everything, 2.1', {policy: 3}, ASKED],
  ['everything, 2.2', {policy: 4}, ASKED],
  ['everything, 2.3', {policy: 5}, ASKED],
  ['nothing', {purposes: [], consents: []}, []],
  ['just what is needed', {purposes: [1, 3, 4]}, ASKED],
  ['no purpose 1', {purposes: without(ALL_PURPOSES, 1)}, []],
  ['no purpose 3', {purposes: without(ALL_PURPOSES, 3)}, []],
  ['no purpose 4', {purposes: without(ALL_PURPOSES, 4)}, []],
  ['only contextual ads', {purposes: [1, 2, 7]}, []],
  ['the last purposes of 24', {purposes: [22, 23, 24]}, []],
  // Legitimate interest is no consent, whichever the policy.
  ['legitimate interest in profiling, 2.0', {policy: 2, purposes: [1], interests: [2, 3, 4, 5, 6, 7]}, []],
  ['legitimate interest in profiling, 2.2', {policy: 4, purposes: [1], interests: [2, 3, 4, 7]}, []],
  ['legitimate interest beside consent', {purposes: [1, 3, 4], interests: [2, 7, 9, 10]}, ASKED],
  ['vendors by legitimate interest alone', {consents: [], interestVendors: span(5, 1200, 5)}, [0]],
  // Vendors, as the encoder packs them.
  ['one vendor', {consents: [7]}, [0, 7]],
  ['few vendors, a bit field', {consents: [2, 4, 7, 9, 10, 12, 15]}, [0, 7, 10]],
  ['a high vendor, a range of one', {consents: [755]}, [0, 755]],
  ['vendors in one range', {consents: span(5, 800)}, ASKED],
  ['vendors in ranges', {consents: [...span(1, 200), ...span(400, 600), 755, ...span(900, 1200)]}, ASKED],
  ['all vendors but those asked about', {consents: without(all, 7, 10, 755)}, [0]],
  ['every second vendor, a bit field', {consents: span(1, 1199, 2)}, [0, 7, 755]],
  ['every fifth vendor by interest, a range each', {consents: [10], interestVendors: [5, 600, 1200]}, [0, 10]],
  // Publisher restrictions. Those of other purposes or vendors say nothing.
  ['restriction: purpose 3 not allowed to 7', {restrictions: [[3, NOT_ALLOWED, [7]]]}, [0, 10, 755]],
  ['restriction: purpose 4 not allowed to many', {restrictions: [[4, NOT_ALLOWED, [7, 10, ...span(700, 800)]]]}, [0]],
  ['restriction: purpose 1 not allowed to 755', {restrictions: [[1, NOT_ALLOWED, [755]]]}, [0, 7, 10]],
  ['restriction: purpose 10 not allowed', {restrictions: [[10, NOT_ALLOWED, [10]]]}, ASKED],
  ['restriction: consent required', {restrictions: [[2, REQUIRE_CONSENT, [10]], [7, REQUIRE_CONSENT, [10]]]}, ASKED],
  ['restriction: interest required', {restrictions: [[3, REQUIRE_LI, [7]]]}, [0, 10, 755]],
  ['restrictions of several kinds', {
    restrictions: [[3, NOT_ALLOWED, [8, 9]], [2, REQUIRE_CONSENT, [10]], [4, NOT_ALLOWED, [755]], [9, NOT_ALLOWED, [10]]],
  }, [0, 7, 10]],
  // Whether purpose 1 was shown at all, special features, other languages and places.
  ['purpose 1 was not shown', {purposes: [3, 4], one: true, country: 'DE'}, []],
  ['purpose 1 was not shown, and is there', {one: true, country: 'DE'}, ASKED],
  ['special features', {features: [1, 2]}, ASKED],
  ['all special features, no purposes', {features: span(1, 12), purposes: []}, []],
  ['another list, language and country', {list: 4000, country: 'FR', screen: 63, cmp: 4095}, ASKED],
  // Scope: a string for everywhere is void since 2.1.
  ['for everywhere', {global: true, segments: [CORE]}, []],
  ['for everywhere, with disclosed and allowed vendors', {
    global: true, policy: 2, segments: [CORE, VENDORS_DISCLOSED, VENDORS_ALLOWED], allowed: [7],
  }, []],
  // Segments. Since 2.3 a vendor must be among those disclosed.
  ['with the publisher\'s own', {segments: [CORE, PUBLISHER_TC], publisher: [1, 3, 4]}, ASKED],
  ['disclosed, 2.3', {policy: 5, segments: [CORE, VENDORS_DISCLOSED, PUBLISHER_TC]}, ASKED],
  ['disclosed before the 2.3', {policy: 4, segments: [CORE, VENDORS_DISCLOSED]}, ASKED],
  ['disclosed to some, 2.3', {policy: 5, segments: [CORE, VENDORS_DISCLOSED], disclosed: [1, 7, 9]}, [0, 7]],
  ['disclosed to a range, 2.3', {policy: 5, segments: [CORE, VENDORS_DISCLOSED], disclosed: span(8, 800)}, [0, 10, 755]],
  ['disclosed to some, 2.2', {policy: 4, segments: [CORE, VENDORS_DISCLOSED], disclosed: [7, 755]}, [0, 7, 755]],
  ['nobody is disclosed, 2.3', {policy: 5, segments: [CORE], disclosed: []}, [0]],
  ['segments in another order', {policy: 5, segments: [CORE, PUBLISHER_TC, VENDORS_DISCLOSED]}, ASKED],
];

const make = ([name, said, allows]) => {
  const policy = said.policy ?? 4;
  const disclosed = said.disclosed ?? all;
  const gvl = new GVL(list(all, policy, said.list ?? 142));
  const model = new TCModel(gvl);
  model.cmpId = said.cmp ?? 31;
  model.cmpVersion = 3;
  model.consentScreen = said.screen ?? 1;
  model.policyVersion = policy;
  model.isServiceSpecific = !said.global;
  model.supportOOB = false;
  model.purposeOneTreatment = said.one ?? false;
  model.publisherCountryCode = said.country ?? 'AA';
  model.created = WHEN;
  model.lastUpdated = WHEN;
  model.purposeConsents.set(said.purposes ?? ALL_PURPOSES);
  model.purposeLegitimateInterests.set(said.interests ?? []);
  model.specialFeatureOptins.set(said.features ?? []);
  model.vendorConsents.set(said.consents ?? all);
  model.vendorLegitimateInterests.set(said.interestVendors ?? []);
  model.vendorsAllowed.set(said.allowed ?? []);
  model.publisherConsents.set(said.publisher ?? []);
  for (const [purposeId, restrictionType, vendors] of said.restrictions ?? []) {
    const restriction = new PurposeRestriction();
    restriction.purposeId = purposeId;
    restriction.restrictionType = restrictionType;
    vendors.forEach((vendor) => model.publisherRestrictions.add(vendor, restriction));
  }
  // The encoder discloses its whole list: a second model has the list of those that are disclosed.
  const segments = said.segments ?? (policy >= 5 ? [CORE, VENDORS_DISCLOSED] : [CORE]);
  const shorter = model.clone();
  shorter.gvl = new GVL(list(disclosed, policy, said.list ?? 142));
  const string = segments
    .map((one) => TCString.encode(one === VENDORS_DISCLOSED ? shorter : model, {segments: [one]}))
    .join('.');
  const read = TCString.decode(string);
  const ids = (vector) => [...vector].filter(([, on]) => on).map(([id]) => id);
  const isDisclosed = segments.includes(VENDORS_DISCLOSED) ? (id) => read.vendorsDisclosed.has(id) : () => policy < 5;
  const mayVendor = (id) => id === 0 || (
    read.vendorConsents.has(id) && isDisclosed(id) &&
    PERSONAL.every((purpose) => ![NOT_ALLOWED, REQUIRE_LI].includes(
      read.publisherRestrictions.getRestrictionType(id, purpose)))
  );
  const may = ASKED.filter((id) =>
    read.isServiceSpecific && PERSONAL.every((one) => read.purposeConsents.has(one)) && mayVendor(id));
  if (JSON.stringify(may) !== JSON.stringify(allows)) {
    throw new Error(`${name}: by the encoder's model ${may}, by hand ${allows}`);
  }
  return {
    name,
    tcf: string,
    cmp_id: read.cmpId,
    policy_version: read.policyVersion,
    vendor_list_version: read.vendorListVersion,
    service_specific: read.isServiceSpecific,
    purpose_one_treatment: read.purposeOneTreatment,
    country: read.publisherCountryCode,
    purposes: ids(read.purposeConsents),
    legitimate_interests: ids(read.purposeLegitimateInterests),
    special_features: ids(read.specialFeatureOptins),
    vendors: ids(read.vendorConsents),
    interest_vendors: ids(read.vendorLegitimateInterests),
    disclosed: segments.includes(VENDORS_DISCLOSED) ? ids(read.vendorsDisclosed) : null,
    restrictions: read.publisherRestrictions.getRestrictions().flatMap((one) =>
      read.publisherRestrictions.getVendors(one).map((vendor) => [one.purposeId, one.restrictionType, vendor])),
    allows: may,
  };
};

// Vendors as ranges, or the file is mostly numbers.
const ranges = (ids) => ids && ids.reduce((found, id) => {
  const last = found.at(-1);
  if (last && last[1] === id - 1) last[1] = id;
  else found.push([id, id]);
  return found;
}, []);

const vectors = CASES.map(make).map((one) => ({
  ...one, vendors: ranges(one.vendors), interest_vendors: ranges(one.interest_vendors), disclosed: ranges(one.disclosed),
}));
console.log(`{"asked": ${JSON.stringify(ASKED)}, "vectors": [\n${vectors.map((one) => JSON.stringify(one)).join(',\n')}\n]}`);
