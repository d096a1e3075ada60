// A bare table and its stored function as GraphQL, as a Node user would serve it for speed:
// node server.mjs <PostgreSQL connection string> <processes> <pool size of each>. Says "ready <address> <versions>".
import cluster from "node:cluster";
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import packages from "./package.json" with { type: "json" };

const [connectionString, processes, poolSize] = process.argv.slice(2);

async function answer() {
  const preset = {
    extends: [PostGraphileAmberPreset],
    pgServices: [makePgService({ connectionString, schemas: ["public"], poolConfig: { max: Number(poolSize) } })],
    grafast: { explain: false },
    grafserv: { graphiql: false, watch: false, websockets: false },
  };
  const graphile = postgraphile(preset);
  await graphile.getSchema(); // fails without a database, which serving alone does not
  const serv = graphile.createServ(grafserv);
  const server = createServer();
  await serv.addTo(server);
  server.listen({ port: 0, host: "127.0.0.1" }, () => process.send(server.address().port));
}

function start() {
  const ports = [];
  for (let number = 0; number < Number(processes); number++) {
    cluster.fork().on("message", (port) => {
      ports.push(port);
      if (ports.length < Number(processes)) return;
      const versions = `PostGraphile ${packages.dependencies.postgraphile}, Node ${process.versions.node}`;
      console.log(`ready http://127.0.0.1:${port} ${versions}`);
    });
  }
  cluster.on("exit", () => process.exit(1)); // none is missing unnoticed
  process.stdin.on("end", () => process.exit(0)).resume(); // nor stays when who started us has gone
}

if (cluster.isPrimary) start();
else await answer();
