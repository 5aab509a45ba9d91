// Helia's trustless gateway client: it asks for blocks one by one, follows us to nodes, and believes only hashes.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { fallbackRouter } from '@helia/fallback-router'
import { trustlessGatewayBlockBroker } from '@helia/trustless-gateway-client'
import { unixfs } from '@helia/unixfs'
import { defaultLogger } from '@libp2p/logger'
import { BaseBlockstore } from 'blockstore-core'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { sha256 } from 'multiformats/hashes/sha2'

import { noise, site } from './content.mjs'
import { form, gateway, newKey, nodes, upload } from './network.mjs'

// The blocks of one gateway, as Helia's block store would get them: asked for by the broker, checked, kept nowhere.
class GatewayBlocks extends BaseBlockstore {
  asked = 0

  constructor (url) {
    super()
    const components = { routing: fallbackRouter({ gateways: [url] }), logger: defaultLogger() }
    this.broker = trustlessGatewayBlockBroker({ allowInsecure: true, allowLocal: true })(components)
  }

  async * get (cid) {
    if (cid.multihash.code === identity.code) {
      yield cid.multihash.digest
      return
    }
    this.asked += 1
    yield await this.broker.retrieve(cid, {
      validateFn: async (block) => {
        const { bytes } = await sha256.digest(block)
        assert.deepEqual(bytes, cid.multihash.bytes)
      }
    })
  }
}

async function read (fs, cid, options) {
  const chunks = []
  for await (const chunk of fs.cat(cid, options)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

let key
before(async () => { key = await newKey('helia') })

test('a file of many blocks, through the gateway and its redirects', async () => {
  const content = noise(5_500_000, 31)
  const { cid } = await upload(key, content)
  const blockstore = new GatewayBlocks(gateway)
  assert.deepEqual(await read(unixfs({ blockstore }), CID.parse(cid)), content)
  assert.equal(blockstore.asked, 7)
})

test('a part of a file takes only the blocks that it needs', async () => {
  const content = noise(5_500_000, 31)
  const { cid } = await upload(key, content)
  const blockstore = new GatewayBlocks(gateway)
  const part = await read(unixfs({ blockstore }), CID.parse(cid), { offset: 3_200_000, length: 1000 })
  assert.deepEqual(part, content.subarray(3_200_000, 3_201_000))
  assert.equal(blockstore.asked, 2)
})

test('directories, small and sharded', async () => {
  const names = Array.from({ length: 1300 }, (_, index) => ({ path: `${index}`.padEnd(220, '-'), content: Buffer.from(`${index}`) }))
  for (const files of [site(32), names]) {
    const { cid } = await upload(key, form(files))
    const fs = unixfs({ blockstore: new GatewayBlocks(gateway) })
    const { path, content } = files.at(-1)
    assert.deepEqual(await read(fs, CID.parse(cid), { path }), content)
    const listed = []
    for await (const entry of fs.ls(CID.parse(cid))) listed.push(entry.name)
    const expected = new Set(files.map((file) => file.path.split('/')[0]))
    assert.deepEqual(listed.sort(), [...expected].sort())
  }
})

test('a node is a trustless gateway too', async () => {
  const content = noise(2_500_000, 33)
  const { cid } = await upload(key, content)
  const fs = unixfs({ blockstore: new GatewayBlocks(nodes[0]) })
  assert.deepEqual(await read(fs, CID.parse(cid)), content)
})

test('what nobody stored is an error', async () => {
  const cid = CID.createV1(0x55, await sha256.digest(noise(100, 34)))
  const fs = unixfs({ blockstore: new GatewayBlocks(gateway) })
  await assert.rejects(read(fs, cid), ({ errors: [error] }) => /received 404/.test(error.message))
})
