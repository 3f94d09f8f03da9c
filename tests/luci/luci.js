// Stands in for LuCI's modules, as far as the views of luci-app-weir use them. What LuCI would not take fails here too.
"use strict";

const _ = (text) => text;

// LuCI's own format: %s, %d, and %1000.1m for a number with a metric prefix.
String.prototype.format = function (...values) {
  return this.replace(/%%|%(\d+)?(?:\.(\d+))?([sdm])/g, (all, base, precision, kind) => {
    if (all === "%%") return "%";
    const value = values.shift();
    if (kind === "s") return String(value);
    if (kind === "d") return String(Math.trunc(Number(value)));
    let [number, index] = [Number(value), 0];
    const units = ["", "K", "M", "G", "T"];
    for (; number > Number(base) && index < units.length - 1; index++) number /= Number(base);
    return index ? `${number.toFixed(Number(precision ?? 2))} ${units[index]}${base === "1024" ? "i" : ""}` : `${number} `;
  });
};

function append(node, children) {
  for (const child of [children].flat(Infinity)) if (child != null) node.append(child);
  return node;
}

function E(tag, attributes, children) {
  if (Array.isArray(tag)) return append(document.createDocumentFragment(), attributes);
  if (attributes instanceof Node || typeof attributes !== "object" || Array.isArray(attributes))
    [attributes, children] = [{}, attributes];
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  return append(node, children ?? []);
}

function cbi_update_table(table, rows, placeholder) {
  if (!rows.length) table.append(E("tr", { class: "tr placeholder" }, E("td", { class: "td" }, placeholder)));
  for (const row of rows) table.append(E("tr", { class: "tr" }, row.map((cell) => E("td", { class: "td" }, String(cell)))));
}

const polled = [];
const modules = {
  view: { extend: (definition) => definition },
  poll: { add: (ask, seconds) => polled.push({ ask, seconds }) },
  dom: {
    content(node, children) {
      node.replaceChildren();
      append(node, children);
    },
  },
  rpc: {
    declare: ({ object, method }) => () =>
      fetch("/ubus", { method: "POST", body: JSON.stringify({ object, method }) }).then((answer) => answer.json()),
  },
};

class Option {
  constructor(name, title, description) {
    Object.assign(this, { name, title, description, values: [] });
  }
  value(key) {
    this.values.push(key);
  }
  render() {
    const input = E("input", { id: this.name, placeholder: this.placeholder ?? "" });
    return E("div", { class: "cbi-value" }, [E("label", { for: this.name }, this.title), input, E("div", this.description ?? "")]);
  }
}
class Value extends Option {}
class Flag extends Option {}
class ListValue extends Option {}
class DynamicList extends Option {}
class NamedSection {
  constructor(id, type) {
    Object.assign(this, { id, type, tabs: {}, options: [] });
  }
  tab(name, title) {
    this.tabs[name] = title;
  }
  taboption(tab, Type, name, title, description) {
    if (!(tab in this.tabs)) throw new Error(`there is no tab ${tab}`);
    if (!(Option.isPrototypeOf(Type))) throw new Error(`${name} is of no type`);
    const option = new Type(name, title, description);
    this.options.push(option);
    return option;
  }
}
class Map_ {
  constructor(config, title, description) {
    Object.assign(this, { config, title, description, sections: [] });
    modules.form.last = this;
  }
  section(Type, ...rest) {
    const section = new Type(...rest);
    this.sections.push(section);
    return section;
  }
  render() {
    const options = this.sections.flatMap((section) => section.options.map((option) => option.render()));
    return Promise.resolve(E("div", { class: "cbi-map" }, [E("h2", this.title), E("div", this.description), options]));
  }
}
modules.form = { Map: Map_, NamedSection, Value, Flag, ListValue, DynamicList };

// As LuCI loads a module: directives at its head become arguments.
async function load(name) {
  const source = await (await fetch(`/view/${name}.js`)).text();
  const wanted = [...source.matchAll(/^'require ([a-z]+)';$/gm)].map((match) => match[1]);
  for (const word of wanted) if (!(word in modules)) throw new Error(`no stand-in for ${word}`);
  return new Function("_", "E", "cbi_update_table", ...wanted, source)(_, E, cbi_update_table, ...wanted.map((word) => modules[word]));
}

async function show(name) {
  const view = await load(name);
  const data = view.load ? await view.load() : undefined;
  document.querySelector("main").replaceChildren(await view.render(data));
  return view;
}
