// Writes GPP strings with IAB's own encoder, and what each must come to, as JSON on stdout.
//
// `allows` says by section whether it forbids neither sale nor sharing nor targeted advertising. It is worked out from the
// values that were set by name, so that the test compares two readings that share no code.
import {GppModel} from '@iabgpp/cmpapi';

const OPT_OUTS = ['SaleOptOut', 'SharingOptOut', 'TargetedAdvertisingOptOut'];
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

// What is set: by section the fields' values. `full` sets every other field to 1 too, which must change nothing.
const make = (label, said, full = false) => {
  const model = new GppModel();
  const allows = {};
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
      model.setFieldValue(name, field, Array.isArray(now) ? now.map(() => 1) : 1);
    }
    Object.entries(values).forEach(([field, value]) => model.setFieldValue(name, field, value));
    allows[US[name]] = opts(name).every((field) => (values[field] ?? 0) !== 1) && values.Gpc !== true;
  }
  const gpp = model.encode();
  const read = new GppModel(gpp);
  const ids = read.getSectionIds();
  return {label, gpp, sections: Object.fromEntries(ids.map((id, place) => [id, gpp.split('~')[place + 1]])), allows};
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
  if (fields(name).includes('Gpc')) {
    vectors.push(make(`${name}: Global Privacy Control`, {[name]: {...none, Gpc: true}}, true));
    vectors.push(make(`${name}: its segment without the control`, {[name]: {...none, Gpc: false}}));
  }
}
const two = (...names) => Object.fromEntries(names.map((name) => [name, name === 'uspv1' ? '1YNN' : {}]));
vectors.push(make('neighbours', two('usnat', 'usca', 'usva')));
vectors.push(make('far apart', two('uspv1', 'usca', 'usri')));
vectors.push(make('two ranges', two('uspv1', 'usnat', 'usfl', 'usmt', 'usor', 'usky')));
vectors.push(make('every section', two('uspv1', ...Object.keys(US))));
vectors.push(make('one of them opted out', {uspv1: '1YNN', usnat: {SaleOptOut: 2}, usco: {TargetedAdvertisingOptOut: 1}}));
console.log(`{"vectors": [\n${vectors.map((one) => JSON.stringify(one)).join(',\n')}\n]}`);
