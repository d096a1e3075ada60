// The artifacts of relay-compiler import each other without an ending, which bundlers add and Node does not.
import { register } from "node:module";

const hooks = `export const resolve = (name, context, next) => next(name.endsWith(".graphql") ? name + ".js" : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
