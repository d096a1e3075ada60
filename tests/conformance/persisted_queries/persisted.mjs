// Asks by persisted queries with Apollo Client and urql, each as its documentation says, and prints as JSON what each got
// and which requests it sent.
//
// Arguments: the endpoint, then a document that the server trusts and its digest. Each client sends that document, another
// one that the server does not know, and the first one again.
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { print } from "graphql";

const [url, TRUSTED, digest] = process.argv.slice(2);
const UNKNOWN = "query Unknown { __typename }";
// A build tool prints the digests of trusted documents; those of others are computed.
const digestOf = async (text) => (text.includes("Trusted") ? digest : createHash("sha256").update(text).digest("hex"));

// Which requests were sent: method, whether with the document, status.
function watch() {
  const sent = [];
  const watchedFetch = async (target, options) => {
    const answer = await fetch(target, options);
    const parameters = new URL(target).searchParams;
    const said = options.body ? JSON.parse(options.body) : Object.fromEntries(parameters);
    sent.push({ method: options.method ?? "GET", document: Boolean(said.query), status: answer.status });
    return answer;
  };
  return [sent, watchedFetch];
}

async function viaApollo(useGETForHashedQueries) {
  const [sent, fetch] = watch();
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.from([
      new PersistedQueryLink({ generateHash: (query) => digestOf(print(query)), useGETForHashedQueries }),
      new HttpLink({ uri: url, fetch }),
    ]),
  });
  const answers = [];
  for (const text of [TRUSTED, UNKNOWN, TRUSTED]) {
    const { data } = await client.query({ query: gql(text), fetchPolicy: "network-only" });
    answers.push(data);
  }
  return { data: answers, sent };
}

async function viaUrql(preferGetForPersistedQueries) {
  const [sent, fetch] = watch();
  const client = new Client({
    url,
    fetch,
    preferGetMethod: false,
    exchanges: [
      persistedExchange({ preferGetForPersistedQueries, generateHash: digestOf }),
      fetchExchange,
    ],
  });
  const answers = [];
  for (const text of [TRUSTED, UNKNOWN, TRUSTED]) {
    const { data, error } = await client.query(text, {}, { requestPolicy: "network-only" }).toPromise();
    if (error) throw error;
    answers.push(data);
  }
  return { data: answers, sent };
}

console.log(
  JSON.stringify({
    "Apollo Client by POST": await viaApollo(false),
    "Apollo Client by GET": await viaApollo(true),
    "urql by POST": await viaUrql(false),
    "urql by GET": await viaUrql(true),
  }),
);
