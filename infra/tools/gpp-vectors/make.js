// Writes GPP strings with IAB's own encoder, and what each must come to, as JSON on stdout.
//
// `allows` says by section whether it forbids neither sale nor sharing nor targeted advertising, `child` whether it knows
// of one. Both are worked out from the values that were set by name, so that the test compares two readings that share
// no code.
import {GppModel} from '@iabgpp/cmpapi';

const OPT_OUTS = ['SaleOptOut', 'SharingOptOut', 'TargetedAdvertisingOptOut'];
const NOTICES = [
  'SharingNotice', 'ProcessingNotice', 'SaleOptOutNotice', 'SharingOptOutNotice', 'TargetedAdvertisingOptOutNotice',
];
const CHILD = 'KnownChildSensitiveDataConsents';
const MODES = {MspaServiceProviderMode: 1, MspaMode: 2}; // the values of service provider mode
const US = {
  usnat: 7, usca: 8, usva: 9, usco: 10, usut: 11, usct: 12, usfl: 13, usmt: 14, usor: 15, ustx: 16, usde: 17, usia: 18,
  usne: 19, usnh: 20, usnj: 21, ustn: 22, usmn: 23, usmd: 24, usin: 25, usky: 26, usri: 27,
};

const section = (model, name) => model.getSection(name) ?? {};
const fields = (name) => {
  const model = new GppModel();
  model.setFieldValue(name, name in US && US[name] >= 24 ? 'MspaVersion' : 'Version', 1);
  return Object.keys(section(model, name)).filter((one) => !['GpcSegmentIncluded', 'GpcSegmentType'].includes(one));
};
const opts = (name) => fields(name).filter((one) => OPT_OUTS.includes(one));

// What is set: by section the fields' values. `full` sets every other field too, to what must change nothing.
const harmless = (field, now) => {
  if (field === CHILD) return now;
  const value = field === 'MspaServiceProviderMode' ? 2 : 1;
  return Array.isArray(now) ? now.map(() => value) : value;
};
const make = (label, said, full = false) => {
  const model = new GppModel();
  const allows = {};
  const child = {};
  for (const [name, values] of Object.entries(said)) {
    if (name === 'uspv1') {
      const parts = {Version: 1, Notice: values[1], OptOutSale: values[2], LspaCovered: values[3]};
      Object.entries(parts).forEach(([field, value]) => model.setFieldValue(name, field, value));
      continue;
    }
    model.setFieldValue(name, US[name] >= 24 ? 'MspaVersion' : 'Version', 1);
    for (const field of fields(name)) {
      const now = section(model, name)[field];
      if (/Version$/.test(field) || field === 'Gpc' || OPT_OUTS.includes(field) || !full) continue;
      model.setFieldValue(name, field, harmless(field, now));
    }
    Object.entries(values).forEach(([field, value]) => model.setFieldValue(name, field, value));
    allows[US[name]] =
      opts(name).every((field) => (values[field] ?? 0) !== 1) &&
      NOTICES.every((field) => values[field] !== 2) &&
      Object.entries(MODES).every(([field, on]) => values[field] !== on) &&
      values.Gpc !== true;
    child[US[name]] = [values[CHILD] ?? 0].flat().some((value) => value !== 0);
  }
  const gpp = model.encode();
  const read = new GppModel(gpp);
  const ids = read.getSectionIds();
  return {label, gpp, sections: Object.fromEntries(ids.map((id, place) => [id, gpp.split('~')[place + 1]])), allows, child};
};

const vectors = [];
for (const name of Object.keys(US)) {
  const own = opts(name);
  const none = Object.fromEntries(own.map((field) => [field, 2]));
  vectors.push(make(`${name}: nothing said`, {[name]: {}}));
  vectors.push(make(`${name}: did not opt out`, {[name]: none}, true));
  for (const field of own) {
    vectors.push(make(`${name}: ${field}`, {[name]: {...none, [field]: 1}}));
    vectors.push(make(`${name}: ${field} does not apply, all else said`, {[name]: {...none, [field]: 0}}, true));
  }
  for (const field of NOTICES.filter((one) => fields(name).includes(one))) {
    vectors.push(make(`${name}: ${field} not given`, {[name]: {...none, [field]: 2}}, true));
  }
  for (const [field, on] of Object.entries(MODES).filter(([one]) => fields(name).includes(one))) {
    vectors.push(make(`${name}: service provider mode`, {[name]: {[field]: on}}, true));
  }
  const model = new GppModel();
  model.setFieldValue(name, US[name] >= 24 ? 'MspaVersion' : 'Version', 1);
  const children = section(model, name)[CHILD];
  for (const value of children === undefined ? [] : [1, 2]) {
    const all = [children].flat();
    all.forEach((_, place) => {
      const set = all.map((_, other) => (other === place ? value : 0));
      const said = Array.isArray(children) ? set : set[0];
      vectors.push(make(`${name}: a known child (${place}: ${value})`, {[name]: {...none, [CHILD]: said}}, true));
    });
  }
  if (fields(name).includes('Gpc')) {
    vectors.push(make(`${name}: Global Privacy Control`, {[name]: {...none, Gpc: true}}, true));
    vectors.push(make(`${name}: its segment without the control`, {[name]: {...none, Gpc: false}}));
  }
}
const two = (...names) => Object.fromEntries(names.map((name) => [name, name === 'uspv1' ? '1YNN' : {}]));
const second = {Version: 2, SaleOptOut: 2, SharingOptOut: 2, TargetedAdvertisingOptOut: 2};
vectors.push(make('usnat, version 2: did not opt out', {usnat: second}, true));
vectors.push(make('usnat, version 2: a known child', {usnat: {...second, [CHILD]: [0, 0, 1]}}, true));
vectors.push(make('usnat, version 2: service provider mode', {usnat: {...second, MspaServiceProviderMode: 1}}, true));
vectors.push(make('neighbours', two('usnat', 'usca', 'usva')));
vectors.push(make('far apart', two('uspv1', 'usca', 'usri')));
vectors.push(make('two ranges', two('uspv1', 'usnat', 'usfl', 'usmt', 'usor', 'usky')));
vectors.push(make('every section', two('uspv1', ...Object.keys(US))));
vectors.push(make('one of them opted out', {uspv1: '1YNN', usnat: {SaleOptOut: 2}, usco: {TargetedAdvertisingOptOut: 1}}));
console.log(`{"vectors": [\n${vectors.map((one) => JSON.stringify(one)).join(',\n')}\n]}`);
