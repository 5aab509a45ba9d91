// kubo-rpc-client with blocks and pins one by one: what is put, what is pinned later, what is held without a pin.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

import { noise } from './content.mjs'
import { all, bytes, modern, newClient } from './kubo_client.mjs'

let kubo
before(async () => { kubo = await newClient('kubo pins') })

test('blocks are put, told of and read', async () => {
  const content = noise(70_000, 901)
  const cid = await kubo.block.put(content, { format: 'raw', mhtype: 'sha2-256', pin: true })
  assert.ok(cid.equals(CID.createV1(0x55, await sha256.digest(content))))
  assert.equal((await kubo.block.stat(cid)).size, content.length)
  assert.deepEqual(Buffer.from(await kubo.block.get(cid)), content)
  assert.ok((await all(kubo.pin.ls({ paths: cid })))[0].cid.equals(cid))
})

test('what is stored here can be pinned, and what is not says so', async () => {
  const other = await newClient('kubo stored')
  const { cid } = await other.add(noise(3000, 902), modern)
  assert.ok((await kubo.pin.add(cid)).equals(cid))
  assert.ok((await all(kubo.pin.ls({ paths: cid })))[0].cid.equals(cid))
  const nowhere = CID.createV1(0x55, await sha256.digest(noise(100, 903)))
  await assert.rejects(kubo.pin.add(nowhere), { name: 'HTTPError' })
})

test('what is added without a pin is held and read, and not listed', async () => {
  const content = noise(4000, 904)
  const { cid } = await kubo.add(content, { ...modern, pin: false })
  assert.deepEqual(await bytes(kubo.cat(cid)), content)
  assert.ok(!(await all(kubo.pin.ls())).some((pin) => pin.cid.equals(cid)))
  await kubo.pin.add(cid)
  assert.ok((await all(kubo.pin.ls())).some((pin) => pin.cid.equals(cid)))
})
