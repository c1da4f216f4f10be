"""Words of a story that need no picture, by language: function words, general verbs and qualities, words of telling.

`left_out.py` does not report them. A `*` stands for any ending that the language's `ENDINGS` match.
"""

from __future__ import annotations

from models.language.kazakh import SUFFIXES

_ENGLISH = """
a an the this that these those some any each every all both many much more most few several no none other another such
same own one two three four five six seven eight nine ten hundred thousand first second third last next once twice
half i me my mine you your yours he him his she her hers it its we us our ours they them their theirs himself herself
itself themselves who whom whose which what where when why how whoever whatever anyone anybody someone somebody
something anything everything everyone everybody nobody nothing there here then now today yesterday tomorrow soon
later again still yet already always never ever often sometimes just only even also too very so as than quite rather
almost away back home down up out off over under together alone far near nearby of in on at to for from with without
by about after before during until till since between among against across along around behind beside besides below
above into onto through toward towards upon past and or but nor if because while though although unless whether not
yes am is are was were be been being do does did done doing have has had having can cannot could will would shall
should may might must let lets don doesn didn won wouldn isn aren wasn weren couldn hasn haven ll ve re im aldar köse
kose hero trick* trickster* outwit* outwitted outwitting outsmart* fool* deceiv* cheat* teas* mock* cunning clever*
sly smart* tale* story stories legend* say* said tell* told speak* spoke spoken talk* ask* answer* call* complain*
name* know* knew think* thought believ* want* wish* need* like* lov* hat* hop* try tri* seem* become became becom*
begin* began begun start* stop* stopped end* keep* kept mak* made tak* took taken get* getting got giv* gave given
bring* brought put* show* shown see* saw seen look* watch* find* found hear* heard meet* met come came com* go* goes
went gone walk* run* running ran sit* sitting sat stand* stood wav* rid* rode ridden arriv* leav* left return* enter*
visit* travel* wander* liv* stay* wait* rest* follow* pass* turn* send* sent us* work* play* happen* wear* wore worn
carry carri* hold* held los* lost catch* caught old older oldest young younger youngest good bad best better worst
worse great greatest big bigger biggest large small little tiny long short new rich richer richest wealthy whole full
empty true false right wrong real* proud* happy happily sad* angry angrily kind* nice famous beautiful pretty fine
simple lazy brave* strong weak dear fast faster fastest quick* slow* golden hole* fur day* time* way* year* week*
month* man men people person thing* place* world life luck lucky lean fat dinner lunch decid* pretend* explain*
describ* remember* forget forgot forgets understand* understood repl* repli* shout* order* command* offer* refus*
agre* agree* accept* prov* challeng* invit* persuad* convinc* promis* produc* settl* matter* advantage* journey*
unbelievable belong* owner* own* earn* gain* spend* spent pay* paid cost* worth reward* shar* receiv* chang* choos*
chose chosen open* clos* reach* cross* mov* lead* led allow* manag* succeed* fail* surpris* amaz* wonder* fear* afraid
scar* worri* trust* respect* honest* dishonest innocent guilty sudden* final* immediate* exact* careful* easy easily
hard* difficult* impossible possible certain* clear* deep* high* low* early late middle part* side* top bottom number*
sort* plan* idea* problem* reason* secret* truth lesson* fortune* business deal* news word* voice* tongue* heart*
mind* head* hand* eye* face* foot feet flock* herd* learn* taught teach* bargain* haggl* red orange yellow green blue
purple brown white black touch* boast* boastful
"""
_RUSSIAN = """
а и но или да не ни же ли бы б в во на у о об обо к ко с со из изо за над под по до от ото для без при про через между
перед после около вокруг среди вдоль возле мимо ради кроме что чтоб* кто где когда как куда откуда почему зачем котор*
чей чья чье чьи если хотя пока потом затем тогда там тут здесь теперь сейчас сегодня завтра вчера снова опять еще уже
всегда никогда иногда часто только лишь даже тоже также очень так такой такая такое такие такую таких этот эта это эту
эти этих этим этими этой этого этому тот та то те ту того тому том тем той тех весь вся все всю всех всем всеми всей
всего каждый кажд* сам сама само сами самый сам* другой другая другое другие других другим один одна одно одну одни
одного одному одним одной два две двух двум двумя три трех четыре пять шесть семь десять сто много мало несколько
больше меньше я ты вы мы он она оно они его ее их ему ей им ими нем ней ним них него нему нее меня мне мной тебя тебе
тобой нас нам вас вам себя себе собой мой моя мое мои мою моего твой твоя твое наш наша наши ваш ваша ваши свой своя
свое свои свою своего своему своим своей своих был* есть будет будут быть нет может могут мог могла могли можно нельзя
надо нужно нужн* должен должна хочет хотел* захотел* алдар* косе безбород* геро* хитр* обман* обвел* обводит провел*
перехитр* проуч* надул* дурачит одурач* плут* ловк* сказк* сказал* сказать рассказ* говор* спрос* спраш* отвечает
ответил* зовут назвал* имя имени дума* подума* знал* знает знать верит верил* повер* люб* решил* решает начал* начина*
стал стала стало стали стать кончил* делает делал* сдела* взял* берет брал* дал дала дали дает дать отдал* отдает получ*
принес* поставил* показ* видит видел* видеть увид* смотр* нашел нашл* находит ищет искал* слыш* услыш* встре* заста*
прийти приш* приход* приех* приезж* пошел пошл* идет идут идти шел шла шли ушел ушл* уходит ходит ходил* ехал* едет
ездит поехал* скакал* скачет верхом бежит бежал* бегает сидит сидел* сел села сели стоит стоял* машет махал* вошел
вошл* входит вернул* верну* живет жил* жить остал* ждет ждал* отправ* носит нес несет потеря* пойма* лов* жалу* пожал*
стар* молод* хорош* плох* лучш* больш* маленьк* нов* богат богата богатый богатого богатому богатым богатом богатые
богатых добр* злой злая злые злого весел* счастлив* груст* сильн* слаб* умн* глуп* прост* ленив* смел* красив* извест*
знаменит* полн* пуст* целый целая целую целое настоящ* последн* тепл* быстр* жизнь жизни дело дела раз раза время
времени день дня дней дни год года лет человек* людям люди людей людьми народ* мир мира место места вещь вещи домой
назад вместе далеко близко вдруг медленно дыр* свете однажды никого никто ничего ничто никем никому никак пообещ*
науч* учит учил* хваст* поздн* рано подъех* попрос* просит просил* отсуд* мешок мешка мешки мешком сумел* смог* умеет
умел* удал* понял* понимает забыл* помнит вспомн* хвал* похвал* предлож* предлаг* соглас* отказ* приказ* велел*
уговор* убед* доказ* платит заплат* заработ* наград* дешев* дорого дорогой честн* боится боял* испуг* удив* рад рада
рады обрад* серд* гнев* тих* громк* рук* голов* глаз* лицо лица сердц* слов* правд* тайн* секрет* новост* урок* план*
мысл* причин* часть сторон* конец конца концу начала житель хозя* владел* путь пути путешеств* подош* подход* вышел
вышл* выход* уехал* уезж* оказ* появ* случ* произош* быва* остав* держ* хват* одинок* щедр* упрям* горд* важн* велик*
огромн* длинн* корот* высок* низк* широк* глубок* красн* оранжев* желт* зелен* син* голуб* фиолетов* коричнев* бел*
черн* уважа* жител* поиск* увел* захода
"""
_KAZAKH = """
және мен пен бен да де та те не немесе бірақ ғой ма ме ба бе па пе ше қой емес жоқ бар иә осы сол ол бұл мына ана
сондай осындай мұндай ондай оның оған оны одан онда онымен олар* менің маған сен* сіз* біз* өз өзі* бәрі* барлық барша
әр әрбір кейбір біреу* ештеңе* ешкім* кім* нені неге қайда қайдан қашан қалай қандай қанша неше бір бірі* екі үш төрт
бес алты жеті он жүз мың көп аз сәл ең өте тым тек ғана әлі енді содан сосын кейін соң бұрын бүгін кеше ертең қазір
тағы қайта үнемі әрқашан ешқашан үшін туралы дейін шейін бойы бойынша арқылы сияқты секілді гөрі бірге қарсы алды*
арты* үсті* асты* іші* жаны* қасы* маңы* арасы* сайын деп де* болып бол* ет* қыл* керек мүмкін тиіс алдар* көсе* алда*
айла* қу қулық* ертегі* аңыз* айт* сөйле* сөз* сұра* атты атымен есімі* ойла* біл* көр* тап* табыл* ал* бер* кел* кет*
бар* жүр* жүгір* отыр* тұр* жат* шық* шығ* кір* өт* мін* жет* жол* түс* баста* бітір* қал* қон* кездес* жолық* әкел*
апар* ұстады ұстап ұстайды ки* күт* тоқта* сал* қой* жібер* оқы* істе* жаса* тыңда* қара* тарт* асып асты қорық* жақсы
жаман үлкен кіші кішкентай жас кәрі жаңа ескі бай ақылсыз күшті батыл сұлу әдемі әйгілі атақты толық бос шын рас
жүйрік тесік күн күні жыл уақыт* адам* кісі* халық* халқ* жұрт* ел* жер* өмір* рет екеу* үшеу* бірінші екінші жалғыз
тез ақырын еді екен екенін болды болған болыпты болса болар болады тегін күтпей* соған қымбат* арзан* сендір* жар
бұйыр* шақыр* ұсын* келіс* түсін* ұмыт* мақта* мақтан* үйрет* үйрен* көрсет* ашулан* қуан* ренжі* қорқ* таң* таңғал*
күл* төле* пайда* сый* іс* жай* бет* қол* бас* көз* тіл* жүрек* сыр* шындық* ақиқат* хабар* жағдай* себеп* кез* шақ*
сәт* таңда* қажет* ғажап дана* данышпан* адал* жомарт* мейірім* ұзақ қысқа биік терең кең алыс* жақын* бөлек түгел
бүкіл ыстық жылы* тұрғанда мезгіл* қызыл сары жасыл көк қоңыр ақ қара беремін қатты ғашық*
"""
SILENT = {"en": _ENGLISH, "ru": _RUSSIAN, "kk": _KAZAKH}
"""Language -> its silent words."""

WEATHER = {
    "en": "cold frost* frosty winter* freez* frozen snow* snowy blizzard*",
    "ru": "мороз* холод* зим* мерз* замерз* вьюг*",
    "kk": "аяз* суық* тоң* қыс* боран* қар*",
}
"""Language -> words of weather that suggest a tale's shape. Only that tale has such weather."""

_VOICE = "тыр|тір|дыр|дір|ыл|іл|ын|ін|т"
_TENSE = (
    "ып|іп|п|ды|ді|ты|ті|ған|ген|қан|кен|атын|етін|ады|еді|йды|йді|а|е|й|ар|ер|р|са|се|у|"
    "май|мей|бай|бей|пай|пей|сын|сін"
)
ENDINGS = {
    "en": "(?:e?s|e?d|e|ing|e?rs?|ly)?",
    "ru": r"\w{0,7}",
    "kk": f"(?:(?:{_VOICE})?(?:{_TENSE})(?:{SUFFIXES})?|(?:{SUFFIXES}){{0,3}})",
}
"""Language -> regular expression for `*`."""
