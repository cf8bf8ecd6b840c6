// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions on device memory, from a hostile guest: any bytes at RIP, any registers, segments
// and modes, page tables that the input wrote. What decodes is well formed and is executed; a walk,
// a fetch or an instruction touches nothing but the guest's RAM and its device.
#include <string.h>

#include "tests/fuzz/script.h"
#include "vmm/cpu/insn.h"

enum {
    MEMORY = 8 << 20,
    DEVICE = 0xFEB00000,
    DEVICE_BYTES = 4096,
    PATCHES = 24,
};

struct guest {
    struct guest_ram ram;
    struct bus bus;
    struct vcpu_page page;
    struct insn_cache cache;
    uint8_t device[DEVICE_BYTES];
    unsigned room; // writes that the device takes before it is busy
};

// tests/unit/guest.c: zeroed pages that take no memory until they are touched.
void *guest_map(size_t bytes, int executable);
void guest_clear(void *base, size_t bytes);

static uint64_t device_read(void *dev, uint64_t offset, unsigned size)
{
    const struct guest *g = dev;
    uint64_t value = 0;

    require(offset + size <= DEVICE_BYTES);
    memcpy(&value, g->device + offset, size);
    return value;
}

static enum bus_result device_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct guest *g = dev;

    require(offset + size <= DEVICE_BYTES);
    if (g->room == 0)
        return BUS_BLOCKED;
    g->room--;
    memcpy(g->device + offset, &value, size);
    return BUS_OK;
}

static const struct device_ops device_ops = { "memory", 8, device_read, device_write };

// Addresses that matter: code, tables and data lie in the first pages; some hit the device, an end
// of RAM, or nothing.
static uint64_t pick_address(struct script *s)
{
    static const uint64_t bases[] = { 0, 0x1000, 0x2000, 0x3000, DEVICE, DEVICE + 0xFF0,
                                      MEMORY - 8, RAM_BASE_END - 8 };
    uint8_t which = (uint8_t)script_take(s, 1);

    if (which >= 0xE0)
        return script_take(s, 8);
    return bases[which & 7] + (script_take(s, 2) & 0xFFF);
}

static void pick_state(struct guest *g, struct script *s)
{
    static const uint8_t code_sizes[] = { 8, 4, 2, 8 };
    struct vm_exit *exit = &g->page.exit;
    uint8_t mode = (uint8_t)script_take(s, 1);

    exit->cpu.code_size = code_sizes[mode & 3];
    exit->cpu.cr0 = 1 | (mode & 4 ? 1u << 31 : 0) | (mode & 8 ? 1u << 16 : 0);
    exit->cpu.cr4 = mode & 0x10 ? 0x20 : 0;
    exit->cpu.efer = mode & 0x20 ? 0xD00 : 0;
    exit->cpu.cr3 = pick_address(s) & ~0xFFFull;
    exit->rip = pick_address(s);
    exit->rsp = pick_address(s);
    exit->rflags = script_take(s, 2) | 2;
    exit->mmio.gpa = DEVICE + (script_take(s, 2) & 0xFFF);
    for (unsigned i = 0; i < 16; i++)
        g->page.gpr[i] = i < 8 ? pick_address(s) : i;
    // As the kernel gives it: what XSAVE writes.
    for (unsigned i = 0; i < 160; i++)
        g->page.fpu[i] = (uint8_t)(g->page.gpr[i % 8] >> i % 16);
    g->page.fpu[26] = g->page.fpu[27] = 0;
    g->page.fpu[512] = g->page.gpr[GPR_RBX] & 7;
    g->page.sregs.ds.base = pick_address(s);
    g->page.sregs.es.base = pick_address(s);
}

static void check_insn(const struct insn *insn)
{
    unsigned size = insn->size;

    require(insn->length >= 1 && insn->length <= INSN_BYTES);
    require(size == 1 || size == 2 || size == 4 || size == 8 ||
            (size == 0 && insn->op >= INSN_FLUSH) ||
            (size == 16 && insn->op == INSN_CMPXCHG_PAIR) ||
            ((size == 16 || size == 32) &&
             (insn->op == INSN_VECTOR_LOAD || insn->op == INSN_VECTOR_STORE)) ||
            (size == 10 && insn->op == INSN_X87));
    require(insn->op <= INSN_OTHER && insn->reg < 16 && insn->segment <= SEGMENT_GS);
    require(insn->reg2 < 16 && (insn->op != INSN_X87 || insn->imm < 0x800));
    require(insn_is_simple(insn) || insn->op == INSN_PUSH || insn->op == INSN_POP ||
            insn->op == INSN_FLUSH ||
            insn->addr_size == 2 || insn->addr_size == 4 || insn->addr_size == 8);
}

static void check_fault(const struct guest_fault *fault)
{
    require(fault->vector == VECTOR_UD || fault->vector == VECTOR_SS ||
            fault->vector == VECTOR_GP || fault->vector == VECTOR_PF ||
            fault->vector == VECTOR_MF || fault->vector == VECTOR_XM);
}

// All but the registers that the instruction names, and the stack pointer, stay as they are.
static void run_simple(struct guest *g, const struct insn *insn)
{
    struct vcpu_page before = g->page;
    struct insn_result result;
    uint64_t old = 0;

    if (insn_reads(insn))
        old = gpa_read(&g->ram, &g->bus, g->page.exit.mmio.gpa, insn->size);
    require(insn->size == 8 || old >> 8 * insn->size == 0);
    insn_compute(insn, &g->page, old, &result);
    require(memcmp(before.gpr, g->page.gpr, sizeof(before.gpr)) == 0);
    require(!result.write || !insn_reads(insn) || insn_modifies(insn));
    if (result.divide_error) {
        require(insn->op == INSN_DIV || insn->op == INSN_IDIV);
        return;
    }
    if (result.write && gpa_write(&g->ram, &g->bus, g->page.exit.mmio.gpa, insn->size,
                                  result.value) == BUS_BLOCKED) {
        require(g->room == 0);
        return;
    }
    insn_commit(insn, &g->page, &result);
    for (unsigned i = 0; i < 16; i++)
        require(before.gpr[i] == g->page.gpr[i] || (result.reg_write && i == result.reg) ||
                (result.reg2_write && i == insn->reg2));
}

static enum insn_run run_one(struct guest *g, const struct insn *insn, struct guest_fault *fault)
{
    if (insn->op == INSN_PUSH || insn->op == INSN_POP)
        return insn_run_stack(insn, &g->ram, &g->bus, &g->page, fault);
    if (insn->op <= INSN_SCAS)
        return insn_run_string(insn, &g->ram, &g->bus, &g->page, fault);
    if (insn->op == INSN_CMPXCHG_PAIR)
        return insn_run_pair(insn, &g->ram, &g->bus, &g->page, fault);
    if (insn->op <= INSN_CALL)
        return insn_run_jump(insn, &g->ram, &g->bus, &g->page, fault);
    return insn_run_vector(insn, &g->ram, &g->bus, &g->page, fault);
}

// A string instruction does at most a chunk at a time, and goes on until it is done.
static void run_other(struct guest *g, const struct insn *insn)
{
    struct guest_fault fault = { 0 };
    enum insn_run run = INSN_RUN_AGAIN;
    uint64_t count;

    for (unsigned i = 0; i < 3 && run == INSN_RUN_AGAIN; i++) {
        count = g->page.gpr[GPR_RCX];
        run = run_one(g, insn, &fault);
        require(run != INSN_RUN_AGAIN || g->page.gpr[GPR_RCX] != count);
        require(count - g->page.gpr[GPR_RCX] <= STRING_CHUNK || insn->addr_size != 8);
    }
    if (run == INSN_RUN_FAULT)
        check_fault(&fault);
    require(run != INSN_RUN_BLOCKED || g->room == 0);
}

static void execute(struct guest *g)
{
    uint64_t places[INSN_PLACES];
    const struct insn *insn;
    struct guest_fault fault = { 0 };

    switch (insn_fetch(&g->cache, &g->ram, &g->page.exit, &insn, &fault)) {
    case INSN_OK:
        check_insn(insn);
        if (insn_is_simple(insn))
            run_simple(g, insn);
        else if (insn->op < INSN_FLUSH)
            run_other(g, insn);
        else
            require(insn_places(insn, &g->page, places) >= 1);
        break;
    case INSN_FAULT:
        check_fault(&fault);
        break;
    default:
        break;
    }
}

static void decode(struct script *s)
{
    static const uint8_t sizes[] = { 2, 4, 8 };
    struct insn_code code = { script_take(s, 8), script_take(s, 7), INSN_BYTES };
    struct insn insn;

    for (unsigned i = 0; i < 3; i++) {
        if (insn_decode(&code, sizes[i], &insn))
            check_insn(&insn);
    }
}

static void walk_any(struct guest *g, struct script *s)
{
    static const enum walk_access accesses[] = { WALK_READ, WALK_WRITE, WALK_FETCH, WALK_READ };
    uint64_t gva = pick_address(s), value, gpa;
    unsigned which = (unsigned)script_take(s, 1);
    struct guest_fault fault = { 0 };

    if (!walk(&g->ram, &g->page.exit, gva, accesses[which & 3], &gpa, &fault))
        check_fault(&fault);
    else if (g->page.exit.cpu.cr0 >> 31 == 0)
        require(gpa == (uint32_t)gva); // no paging: as it is
    if (gmem_read(&g->ram, &g->bus, &g->page.exit, gva, 1u << (which >> 2 & 3), &value, &fault) ==
        GMEM_FAULT)
        check_fault(&fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guest g;
    struct script script = { data, size };
    static uint8_t *memory; // mapped once: that costs more than all the rest
    uint64_t at, value;

    if (memory == NULL)
        memory = guest_map(MEMORY, 0);
    require(memory != NULL);
    guest_clear(memory, MEMORY);
    memset(&g, 0, sizeof(g));
    ram_init(&g.ram, memory, MEMORY);
    bus_init(&g.bus);
    require(bus_add_mmio(&g.bus, &device_ops, &g, DEVICE, DEVICE_BYTES));
    insn_cache_init(&g.cache);
    g.room = (unsigned)script_take(&script, 1) * 8;
    decode(&script);
    pick_state(&g, &script);
    for (unsigned i = (unsigned)script_take(&script, 1) % PATCHES; i-- > 0;) {
        at = pick_address(&script);
        value = script_take(&script, 8);
        ram_write(&g.ram, at, &value, sizeof(value));
    }
    walk_any(&g, &script);
    while (script.left >= 8) { // instructions one after the other, at RIP
        value = __builtin_bswap64(script_take(&script, 8));
        ram_write(&g.ram, g.page.exit.rip, &value, sizeof(value));
        execute(&g);
        g.page.exit.rip += 8;
    }
    return 0;
}
