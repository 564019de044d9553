// Walks every page of a built site in a phone's width and says what is wrong with it; exit status 1 where anything is.
import { createServer } from "node:http";
import { readFile, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { chromium } from "playwright-core";

const [site, executablePath] = process.argv.slice(2);
const WIDTH = 390;
const WITH_AXE = ["", "getting-started/", "how-to/receive-files/", "reference/api/server/", "reference/statuses/"];
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] };
const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

async function pages(folder = site) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await pages(full)));
    else if (entry.name === "index.html") found.push(path.relative(site, folder).replaceAll(path.sep, "/"));
  }
  return found.map((each) => (each && !each.endsWith("/") ? `${each}/` : each)).sort();
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://site");
  const file = path.join(site, decodeURIComponent(pathname), pathname.endsWith("/") ? "index.html" : "");
  try {
    const body = await readFile(file);
    response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `http://127.0.0.1:${server.address().port}/`;

const wrong = [];
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const all = await pages();
const context = await browser.newContext({ viewport: { width: WIDTH, height: 844 } });
const page = await context.newPage();
let current = "";
page.on("request", (request) => {
  if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url()))
    wrong.push(`${current}: fetches ${request.url()}`);
});
page.on("response", (response) => {
  // A site of one version has no list of versions, for which the theme asks.
  if (response.status() >= 400 && !response.url().endsWith("/versions.json"))
    wrong.push(`${current}: ${response.status()} ${response.url()}`);
});
page.on("pageerror", (error) => wrong.push(`${current}: ${error.message}`));
for (current of all) {
  await page.goto(origin + current, { waitUntil: "load" });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (width > WIDTH) wrong.push(`${current}: ${width} pixels wide`);
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let violations = 0;
for (current of WITH_AXE) {
  await page.goto(origin + current, { waitUntil: "load" });
  await page.waitForTimeout(300); // the theme wraps tables behind the load, and extra.js behind that
  await page.evaluate(axe);
  for (const each of (await page.evaluate((rules) => window.axe.run(rules), RULES)).violations) {
    violations += 1;
    wrong.push(`${current}: axe ${each.id}: ${each.help}: ${each.nodes[0].html.slice(0, 150)}`);
  }
}

const bare = await browser.newContext({ javaScriptEnabled: false, viewport: { width: WIDTH, height: 844 } });
const plain = await bare.newPage();
for (const each of WITH_AXE) {
  await plain.goto(origin + each);
  if ((await plain.locator("article").innerText()).length < 200) wrong.push(`${each}: no text without JavaScript`);
}
await browser.close();
server.close();
console.log(wrong.join("\n"));
console.log(`${all.length} pages at ${WIDTH} pixels, axe on ${WITH_AXE.length}: ${violations} violations; ${wrong.length} faults`);
process.exit(wrong.length || !all.length ? 1 : 0);
