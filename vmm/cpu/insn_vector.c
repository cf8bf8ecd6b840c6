// SPDX-License-Identifier: BSD-2-Clause
//
// Moves of vector registers from and to memory, conversions into them, and the x87's instructions
// with a memory operand. The registers are the guest's, in page->fpu: the caller gets them from the
// kernel before, and puts them back behind what changes them. Where arithmetic is in it, the CPU
// does it (fpu.h).
// Addresses are computed from the registers; page->sregs must be current.
// Keeps no state; runs on the VMM's only thread. (SDM, "Managing State Using the XSAVE Feature
// Set".)
#include <cpuid.h>
#include <stddef.h>
#include "vmm/cpu/fpu.h"
#include "vmm/cpu/insn.h"

// Components of the XSAVE area, and where they are in it: the later ones where the CPU says.
enum { X87, SSE, AVX, ZMM_UPPER = 6 };
enum { AREA_XMM = 160, AREA_HEADER = 512 };

#define MXCSR_FLAGS     0x3Fu
#define MXCSR_MASKS     0x1F80u
#define MXCSR_TO_MASK   7      // a flag's mask is so many bits above it
#define MXCSR_VALID     0xFFFFu
#define CR4_OSXMMEXCPT  (1u << 10)

#define FSW_ES          0x80u
#define FSW_NO_STORE    0x1Du  // IE, ZE, OE, UE: unmasked, memory and stack stay as they are

static uint64_t components(const struct vcpu_page *page)
{
    uint64_t bits;

    memcpy(&bits, page->fpu + AREA_HEADER, sizeof(bits));
    return bits;
}

static bool holds(const struct vcpu_page *page, unsigned component)
{
    return components(page) >> component & 1;
}

static size_t offset_of(unsigned component)
{
    uint32_t a, b = 0, c, d;

    if (component == SSE)
        return AREA_XMM;
    __get_cpuid_count(0xD, component, &a, &b, &c, &d);
    return b;
}

// Bytes of a register in a component, and the register; a component without its bit is all zeros,
// whatever its memory says.
static size_t part_size(unsigned component)
{
    return component == ZMM_UPPER ? 32 : 16;
}

static void get_part(const struct vcpu_page *page, unsigned component, unsigned reg, uint8_t *value)
{
    size_t size = part_size(component);

    if (holds(page, component))
        memcpy(value, page->fpu + offset_of(component) + reg * size, size);
    else
        memset(value, 0, size);
}

static void set_part(struct vcpu_page *page, unsigned component, unsigned reg, const uint8_t *value)
{
    uint64_t bits = components(page) | 1ull << component;
    size_t size = part_size(component), at = offset_of(component);

    if (at < AREA_XMM || at + 16 * size > sizeof(page->fpu))
        return; // a CPU without it, to which no guest can have loaded it
    if (!holds(page, component))
        memset(page->fpu + at, 0, 16 * size);
    memcpy(page->fpu + at + reg * size, value, size);
    memcpy(page->fpu + AREA_HEADER, &bits, sizeof(bits));
}

static void clear_part(struct vcpu_page *page, unsigned component, unsigned reg)
{
    static const uint8_t zeros[32];

    if (holds(page, component))
        set_part(page, component, reg, zeros);
}

static uint32_t get_mxcsr(const struct vcpu_page *page)
{
    uint32_t value;

    memcpy(&value, page->fpu + offsetof(struct fpu_image, mxcsr), sizeof(value));
    return value;
}

static void set_mxcsr(struct vcpu_page *page, uint32_t value)
{
    memcpy(page->fpu + offsetof(struct fpu_image, mxcsr), &value, sizeof(value));
}

// `value` is what an instruction has made of `size` bytes.
static void set_vector(const struct insn *insn, struct vcpu_page *page, const uint8_t *value,
                       unsigned size)
{
    uint8_t low[16] = { 0 };

    if (insn->vector & INSN_MERGE)
        get_part(page, SSE, insn->reg2, low);
    memcpy(low + (insn->vector & INSN_UPPER ? 8 : 0), value, size < 16 ? size : 16);
    set_part(page, SSE, insn->reg, low);
    if (!(insn->vector & INSN_VEX))
        return;
    if (size == 32)
        set_part(page, AVX, insn->reg, value + 16);
    else
        clear_part(page, AVX, insn->reg);
    clear_part(page, ZMM_UPPER, insn->reg);
}

// What an instruction works on.
struct place {
    const struct insn *insn;
    const struct guest_ram *ram;
    struct bus *bus;
    struct vcpu_page *page;
    struct guest_fault *fault;
    uint64_t gva;
};

static enum insn_run read_operand(const struct place *p, void *bytes)
{
    return insn_run_of(gmem_read_bytes(p->ram, p->bus, &p->page->exit, p->gva, p->insn->size,
                                       bytes, p->fault));
}

static enum insn_run write_operand(const struct place *p, const void *bytes)
{
    return insn_run_of(gmem_write_bytes(p->ram, p->bus, &p->page->exit, p->gva, p->insn->size,
                                        bytes, p->fault));
}

static enum insn_run run_move(const struct place *p)
{
    const struct insn *insn = p->insn;
    uint8_t value[32] = { 0 };
    enum insn_run run;

    if ((insn->vector & INSN_ALIGNED) && p->gva % insn->size != 0)
        return insn_run_fault(p->fault, VECTOR_GP, true);
    if (insn->op == INSN_VECTOR_LOAD) {
        run = read_operand(p, value);
        if (run == INSN_RUN_DONE)
            set_vector(insn, p->page, value, insn->size);
        return run;
    }
    get_part(p->page, SSE, insn->reg, value);
    if (insn->size == 32)
        get_part(p->page, AVX, insn->reg, value + 16);
    return write_operand(p, value + (insn->vector & INSN_UPPER ? 8 : 0));
}

// Of an exception that is not masked the flag is set, and the register stays.
static enum insn_run run_convert(const struct place *p)
{
    const struct insn *insn = p->insn;
    unsigned which = (insn->reg_size == 8 ? 2 : 0) + (insn->size == 8 ? 1 : 0);
    uint32_t mxcsr = get_mxcsr(p->page), after = (mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS;
    uint64_t value = 0;
    enum insn_run run = read_operand(p, &value);

    if (run != INSN_RUN_DONE)
        return run;
    value = fpu_convert(value, which, &after);
    set_mxcsr(p->page, mxcsr | (after & MXCSR_FLAGS));
    if (after & MXCSR_FLAGS & ~(mxcsr >> MXCSR_TO_MASK)) {
        bool told = p->page->exit.cpu.cr4 & CR4_OSXMMEXCPT;
        return insn_run_fault(p->fault, told ? VECTOR_XM : VECTOR_UD, false);
    }
    set_vector(insn, p->page, (const uint8_t *)&value, insn->reg_size);
    return INSN_RUN_DONE;
}

static enum insn_run run_mxcsr(const struct place *p)
{
    uint32_t value = get_mxcsr(p->page);
    enum insn_run run;

    if (p->insn->op == INSN_MXCSR_STORE)
        return write_operand(p, &value);
    run = read_operand(p, &value);
    if (run != INSN_RUN_DONE)
        return run;
    if (value & ~MXCSR_VALID)
        return insn_run_fault(p->fault, VECTOR_GP, true);
    set_mxcsr(p->page, value);
    return INSN_RUN_DONE;
}

// ---- x87. insn->imm is the opcode as the x87 itself keeps it: three bits, and ModRM ----

#define X87_NUMBER(imm) ((unsigned)((imm) >> 8 << 3 | ((imm) >> 3 & 7)))

// A bit for each: those that store; that set no pointers to the last instruction (FLDCW, FNSTCW,
// FNSTSW); and of these, those that do not wait for a pending exception.
static const uint64_t x87_stores = 0xCE008E008E008C00ull;
static const uint64_t x87_control = 0x000080000000A000ull;
static const uint64_t x87_no_wait = 0x0000800000008000ull;

static bool x87_is(uint64_t set, const struct insn *insn)
{
    return set >> X87_NUMBER(insn->imm) & 1;
}

// Only the x87's part counts.
static void get_x87(const struct vcpu_page *page, struct fpu_image *image)
{
    memset(image, 0, sizeof(*image));
    if (holds(page, X87))
        memcpy(image, page->fpu, AREA_XMM);
    else
        image->fcw = 0x37F;
    image->mxcsr = MXCSR_MASKS;
}

static void set_x87(struct vcpu_page *page, const struct fpu_image *image)
{
    uint64_t bits = components(page) | 1ull << X87;

    memcpy(page->fpu, image, offsetof(struct fpu_image, mxcsr));
    memcpy(page->fpu + offsetof(struct fpu_image, rest), image->rest,
           AREA_XMM - offsetof(struct fpu_image, rest));
    memcpy(page->fpu + AREA_HEADER, &bits, sizeof(bits));
}

// Not where an exception came that keeps the number on the stack.
static bool x87_stored(const struct insn *insn, const struct fpu_image *after)
{
    bool kept = (after->fsw & FSW_ES) && (after->fsw & ~after->fcw & FSW_NO_STORE);

    return x87_is(x87_stores, insn) && (!kept || x87_is(x87_control, insn));
}

static enum insn_run run_x87(const struct place *p)
{
    const struct insn *insn = p->insn;
    struct fpu_image before, after;
    uint8_t value[16] = { 0 };
    enum insn_run run = INSN_RUN_DONE;

    get_x87(p->page, &before);
    if (((before.fsw & FSW_ES) || (before.fsw & ~before.fcw & MXCSR_FLAGS)) &&
        !x87_is(x87_no_wait, insn))
        return insn_run_fault(p->fault, VECTOR_MF, false);
    if (!x87_is(x87_stores, insn))
        run = read_operand(p, value);
    if (run != INSN_RUN_DONE)
        return run;
    after = before;
    fpu_x87(&after, value, X87_NUMBER(insn->imm));
    if (x87_is(x87_control, insn)) {
        after.fop = before.fop;
        after.fip = before.fip;
        after.fdp = before.fdp;
    } else {
        after.fop = (uint16_t)insn->imm;
        after.fip = p->page->exit.rip;
        after.fdp = p->gva - insn_segment_base(p->page, insn->segment);
    }
    if (x87_stored(insn, &after))
        run = write_operand(p, value);
    if (run == INSN_RUN_DONE)
        set_x87(p->page, &after);
    return run;
}

enum insn_run insn_run_vector(const struct insn *insn, const struct guest_ram *ram,
                              struct bus *bus, struct vcpu_page *page, struct guest_fault *fault)
{
    const struct place place = { insn, ram, bus, page, fault, insn_address(insn, page) };

    switch (insn->op) {
    case INSN_VECTOR_LOAD:
    case INSN_VECTOR_STORE:
        return run_move(&place);
    case INSN_CONVERT:
        return run_convert(&place);
    case INSN_X87:
        return run_x87(&place);
    default:
        return run_mxcsr(&place);
    }
}
