// The Pinning Services API under /psa, as ipfs-shipyard's pinning-service-client speaks it.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { Configuration, RemotePinningServiceClient, Status, TextMatchingStrategy } from '@ipfs-shipyard/pinning-service-client'

import { noise } from './content.mjs'
import { gateway, newKey, upload } from './network.mjs'

let key
let pins
let cids
before(async () => {
  key = await newKey('pinning service')
  pins = new RemotePinningServiceClient(new Configuration({ endpointUrl: `${gateway}/psa`, accessToken: key }))
  // Stored by somebody else: a pin of ours finds the blocks here.
  const other = await newKey('who stored it')
  cids = []
  for (let at = 0; at < 4; at++) cids.push((await upload(other, noise(1000, 600 + at))).cid)
})

/** The pin once it is pinned; what is stored here takes no time to fetch. */
async function pinned (requestid) {
  for (let left = 100; left > 0; left--) {
    const pin = await pins.pinsRequestidGet({ requestid })
    if (pin.status === Status.Pinned) return pin
    assert.ok([Status.Queued, Status.Pinning].includes(pin.status), `${pin.status}: ${JSON.stringify(pin.info)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${requestid} is not pinned`)
}

async function status (promise) {
  const answer = await promise.then(() => null, (answer) => answer)
  const { error } = await answer.json()
  assert.equal(typeof error.reason, 'string')
  return answer.status
}

test('a pin is made, looked at, listed, and removed', async () => {
  const pin = { cid: cids[0], name: 'first', meta: { app: 'tests' } }
  const made = await pins.pinsPost({ pin })
  assert.equal(made.pin.cid, cids[0])
  assert.ok(Array.isArray(made.delegates))
  const done = await pinned(made.requestid)
  assert.deepEqual([done.pin.cid, done.pin.name, done.pin.meta], [pin.cid, pin.name, pin.meta])
  assert.ok(Math.abs(done.created - Date.now()) < 600_000)
  const { count, results } = await pins.pinsGet({ cid: [cids[0]] })
  assert.deepEqual([count, results.map((pin) => pin.requestid)], [1, [made.requestid]])
  await pins.pinsRequestidDelete({ requestid: made.requestid })
  assert.equal(await status(pins.pinsRequestidGet({ requestid: made.requestid })), 404)
  assert.equal((await pins.pinsGet({ cid: [cids[0]] })).count, 0)
})

test('the same CID twice is two pins', async () => {
  const one = await pins.pinsPost({ pin: { cid: cids[1], name: 'one' } })
  const two = await pins.pinsPost({ pin: { cid: cids[1], name: 'two' } })
  assert.notEqual(one.requestid, two.requestid)
  await pins.pinsRequestidDelete({ requestid: one.requestid })
  assert.equal((await pinned(two.requestid)).pin.name, 'two')
})

test('a pin is replaced by another under a new id', async () => {
  const old = await pins.pinsPost({ pin: { cid: cids[2], name: 'old' } })
  await pinned(old.requestid)
  const fresh = await pins.pinsRequestidPost({ requestid: old.requestid, pin: { cid: cids[3], name: 'fresh' } })
  assert.notEqual(fresh.requestid, old.requestid)
  assert.equal((await pinned(fresh.requestid)).pin.cid, cids[3])
  assert.equal(await status(pins.pinsRequestidGet({ requestid: old.requestid })), 404)
})

test('lists are filtered', async () => {
  for (const [at, name] of ['Alpha file', 'alpha other', 'beta'].entries()) {
    const { requestid } = await pins.pinsPost({ pin: { cid: cids[at], name, meta: { group: at < 2 ? 'a' : 'b', in: 'filters' } } })
    await pinned(requestid)
  }
  const names = async (request) => {
    const { results } = await pins.pinsGet({ ...request, meta: { in: 'filters', ...request.meta } })
    return results.map((pin) => pin.pin.name)
  }
  assert.deepEqual(await names({}), ['beta', 'alpha other', 'Alpha file'], 'newest first')
  assert.deepEqual(await names({ meta: { group: 'b' } }), ['beta'])
  assert.deepEqual(await names({ name: 'beta' }), ['beta'])
  assert.deepEqual(await names({ name: 'BETA' }), [])
  assert.deepEqual(await names({ name: 'BETA', match: TextMatchingStrategy.Iexact }), ['beta'])
  assert.deepEqual(await names({ name: 'alpha', match: TextMatchingStrategy.Partial }), ['alpha other'])
  assert.deepEqual(await names({ name: 'alpha', match: TextMatchingStrategy.Ipartial }), ['alpha other', 'Alpha file'])
  assert.deepEqual(await names({ cid: [cids[0], cids[2]] }), ['beta', 'Alpha file'])
  assert.deepEqual(await names({ status: [Status.Failed] }), [])
})

test('a list goes on before what was seen', async () => {
  for (let at = 0; at < 12; at++) {
    const { requestid } = await pins.pinsPost({ pin: { cid: cids[0], name: `${at}`, meta: { in: 'pages' } } })
    await pinned(requestid)
  }
  const seen = []
  let before
  for (let pages = 0; pages < 10; pages++) {
    const { count, results } = await pins.pinsGet({ meta: { in: 'pages' }, limit: 5, before })
    seen.push(...results.map((pin) => pin.pin.name))
    before = results.at(-1).created
    if (count <= results.length) break
  }
  assert.deepEqual(seen, Array.from({ length: 12 }, (_, at) => `${11 - at}`))
  assert.equal((await pins.pinsGet({ meta: { in: 'pages' } })).results.length, 10, 'ten unless more are asked for')
})

test('refusals have the form of the specification', async () => {
  assert.equal(await status(pins.pinsPost({ pin: { cid: 'not a cid' } })), 400)
  assert.equal(await status(pins.pinsGet({ limit: 1001 })), 400)
  assert.equal(await status(pins.pinsRequestidDelete({ requestid: '0193b2a0-0000-7000-8000-000000000000' })), 404)
  const stranger = new RemotePinningServiceClient(new Configuration({ endpointUrl: `${gateway}/psa`, accessToken: 'nobody' }))
  assert.equal(await status(stranger.pinsGet({})), 401)
})
