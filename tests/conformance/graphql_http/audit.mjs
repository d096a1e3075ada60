// Runs every audit of the package against the endpoint of the first argument, and prints what it found as JSON.
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2] });
console.log(
  JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason: String(reason ?? "") }))),
);
