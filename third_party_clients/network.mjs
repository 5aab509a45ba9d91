// The running network: where it is, an account of its own for each file of tests, uploads. Starts and stops nothing.

import { readFileSync } from 'node:fs'

const dev = JSON.parse(readFileSync(process.env.PINSTRIPE_DEV_JSON, 'utf8'))

/** The gateway, without a slash at the end. */
export const gateway = dev.gateway

/** Addresses of all nodes, to know whether a reader was sent to one. */
export const nodes = dev.nodes.map((node) => node.url)

async function admin (path, body) {
  const answer = await fetch(`${gateway}/v1/admin/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${dev.admin_token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  if (answer.status !== 201) {
    throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  }
  return answer.json()
}

/** A new account's API key: no test sees the pins of another. */
export async function newKey (name) {
  const { id } = await admin('accounts', { name })
  return (await admin(`accounts/${id}/keys`, { name })).key
}

/** `POST /v1/files`: the answer's JSON, or an error with what the gateway said. */
export async function upload (key, body, query = '') {
  const answer = await fetch(`${gateway}/v1/files${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body,
    duplex: 'half'
  })
  if (answer.status !== 201) {
    throw new Error(`upload: ${answer.status} ${await answer.text()}`)
  }
  return answer.json()
}

/** A form with one part for each `{ path, content }`. */
export function form (files) {
  const form = new FormData()
  for (const { path, content } of files) {
    form.append('file', new Blob([content]), path)
  }
  return form
}
